#include "data_tools/gettext_plural.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

constexpr const char* kRussian =
    "(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2)";
constexpr const char* kArabic =
    "n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5";

GettextCatalogue with_rule(const std::string& rule) {
  return {.header = {{"Plural-Forms", "nplurals=9; plural=" + rule + ";"}}, .entries = {}};
}

std::vector<std::string> texts_of(const GettextCatalogue& catalogue, const std::vector<std::string>& forms) {
  const GettextEntry entry = {.context = "", .id = "one", .plural = "many", .texts = forms};
  std::vector<std::string> result;
  for (const GettextPair& pair : pairs_of(entry, catalogue)) result.push_back(pair.english + "=" + pair.text);
  return result;
}

TEST(GettextPlural, RulesOfRealLanguagesAreEvaluated) {
  const std::vector<int64_t> russian = {2, 0, 1, 1, 1, 2};
  for (size_t n = 0; n < russian.size(); ++n)
    EXPECT_EQ(evaluate_plural(kRussian, static_cast<int64_t>(n)), russian[n]) << n;
  EXPECT_EQ(evaluate_plural(kRussian, 11), 2);
  EXPECT_EQ(evaluate_plural(kRussian, 21), 0);
  EXPECT_EQ(evaluate_plural(kArabic, 103), 3);
  EXPECT_EQ(evaluate_plural(kArabic, 100), 5);
}

TEST(GettextPlural, OperatorsBindAsInC) {
  EXPECT_EQ(evaluate_plural("1 + 2 * 3 - 4 / 2", 0), 5);
  EXPECT_EQ(evaluate_plural("10 - 3 - 2", 0), 5);
  EXPECT_EQ(evaluate_plural("!0 && n <= 3 || 0", 4), 0);
  EXPECT_EQ(evaluate_plural("n / 0", 4), 0);
}

TEST(GettextPlural, WhatIsNoExpressionIsRefused) {
  for (const char* text : {"", "EXPRESSION", "n ? 1", "(n", "n n", "n +", "system(1)"})
    EXPECT_FALSE(evaluate_plural(text, 1)) << text;
  EXPECT_FALSE(evaluate_plural(std::string(100000, '('), 1));
  EXPECT_FALSE(evaluate_plural(std::string(100000, '!'), 1));
}

TEST(GettextPlural, SingularMeetsTheFormForOneAndPluralTheFormForMany) {
  EXPECT_EQ(texts_of(with_rule(kArabic), {"zero", "one", "two", "few", "teens", "hundred"}),
            (std::vector<std::string>{"one=one", "many=hundred"}));
}

TEST(GettextPlural, LanguageWithOneFormGivesOnlyThePlural) {
  EXPECT_EQ(texts_of(with_rule("0"), {"form"}), std::vector<std::string>{"many=form"});
}

TEST(GettextPlural, WithoutUsableRuleFirstAndLastFormAreTaken) {
  for (const GettextCatalogue& catalogue : {GettextCatalogue{}, with_rule("nonsense"), with_rule("n + 50")})
    EXPECT_EQ(texts_of(catalogue, {"a", "b", "c"}), (std::vector<std::string>{"one=a", "many=c"}));
}

TEST(GettextPlural, EmptyTranslationGivesNothing) {
  EXPECT_TRUE(pairs_of({.context = "", .id = "one", .plural = "", .texts = {""}}, {}).empty());
}

}  // namespace
}  // namespace fern
