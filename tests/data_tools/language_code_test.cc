#include "data_tools/language_code.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace fern {
namespace {

void expect_tags(const std::vector<std::pair<const char*, const char*>>& cases) {
  for (const auto& [code, tag] : cases)
    EXPECT_EQ(normalise_language(code).value_or("refused"), tag) << "for " << code;
}

TEST(LanguageCode, PosixLocalesBecomeTags) {
  expect_tags({{"sw", "sw"},
               {"pt_BR.UTF-8", "pt-BR"},
               {"de_CH", "de-CH"},
               {"sr@latin", "sr-Latn"},
               {"sr@Latn", "sr-Latn"},
               {"sr_RS@latin", "sr-Latn"},
               {"be@latin", "be-Latn"},
               {"uz@cyrillic", "uz-Cyrl"},
               {"ca@valencia", "ca-valencia"},
               {"sr@ije", "sr-ijekavsk"},
               {"tt@iqtelif", "tt-Latn"},
               {"fr_FR@euro", "fr"}});
}

TEST(LanguageCode, MediaWikiCodesBecomeTags) {
  expect_tags({{"zh-hans", "zh"},
               {"zh-hant", "zh-Hant"},
               {"be-tarask", "be-tarask"},
               {"be-x-old", "be-tarask"},
               {"roa-rup", "rup"},
               {"simple", "en-simple"},
               {"nds-nl", "nds-NL"},
               {"sr-ec", "sr"},
               {"sr-el", "sr-Latn"},
               {"kk-arab", "kk-Arab"},
               {"kk-cyrl", "kk"},
               {"nrm", "nrf"},
               {"cbk-zam", "cbk"},
               {"map-bms", "jv-x-bms"},
               {"crh-latn", "crh"},
               {"zh-classical", "lzh"},
               {"mo", "ro-Cyrl-MD"},
               {"nan-latn-pehoeji", "nan-Latn-pehoeji"},
               {"kge", "kge"},
               {"roa-tara", "nap-x-tara"}});
}

TEST(LanguageCode, WithdrawnAndDoubledCodesMeetTheirModernOne) {
  expect_tags({{"iw", "he"},
               {"in", "id"},
               {"ji", "yi"},
               {"no", "nb"},
               {"nb_NO", "nb"},
               {"tl", "fil"},
               {"no_NO", "nb"},
               {"tl_PH", "fil"}});
}

TEST(LanguageCode, LikelyScriptAndRegionAreLeftOut) {
  expect_tags({{"zh_CN", "zh"},
               {"zh_TW", "zh-Hant"},
               {"zh_HK", "zh-HK"},
               {"pa_PK", "pa-Arab"},
               {"az_IR", "az-Arab"},
               {"bn_BD", "bn"},
               {"bn_IN", "bn-IN"},
               {"en_GB", "en-GB"},
               {"hif-latn", "hif"}});
}

TEST(LanguageCode, PortugueseWithoutRegionIsEuropean) {
  expect_tags({{"pt", "pt"}, {"pt_PT", "pt"}, {"pt-br", "pt-BR"}});
}

TEST(LanguageCode, NormalisingTwiceChangesNothing) {
  for (const char* code : {"sr@ije", "map-bms", "zh_TW", "mo", "be-x-old", "en@shaw", "pt_BR", "aa@saaho"}) {
    const auto once = normalise_language(code);
    ASSERT_TRUE(once) << code;
    EXPECT_EQ(normalise_language(*once), once) << code;
  }
}

TEST(LanguageCode, WhatNamesNoLanguageIsRefused) {
  for (const char* code :
       {"", "x", "xx", "qqq", "english", "l10n", "abcd", "a--b", "fr-", "de-formal", "en@quot", "en@boldquot",
        "sr@nonsense", "C", "POSIX", "und", "x-foo", "../etc", "\xff\xfe"})
    EXPECT_FALSE(normalise_language(code))
        << "\"" << code << "\" became " << normalise_language(code).value();
}

TEST(LanguageCode, ScriptIsCldrsLikelyOne) {
  EXPECT_EQ(script_of_language("am"), "Ethi");
  EXPECT_EQ(script_of_language("sat"), "Olck");
  EXPECT_EQ(script_of_language("sr-Latn"), "Latn");
  EXPECT_EQ(script_of_language("zh-HK"), "Hant");
  EXPECT_EQ(script_of_language("crh"), "Latn");
  EXPECT_EQ(script_of_language("zzz"), "");
}

}  // namespace
}  // namespace fern
