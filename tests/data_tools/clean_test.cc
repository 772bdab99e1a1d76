#include "data_tools/clean.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "data_tools/clean_accelerator.h"
#include "data_tools/clean_characters.h"
#include "data_tools/clean_markup.h"
#include "data_tools/clean_placeholder.h"

namespace fern {
namespace {

struct Case {
  const char* language;
  const char* english;
  const char* text;
  SegmentKind kind = SegmentKind::kMessage;
};

// "english=text" after cleaning, or "(reason)".
std::string cleaned(const Case& from, TextStyle style = TextStyle::kGettext) {
  Segment segment = {
      .language = from.language, .english = from.english, .text = from.text, .kind = from.kind};
  if (const auto reason = clean(segment, style)) return fmt::format("({})", drop_name(*reason));
  return segment.english + "=" + segment.text;
}

TEST(Clean, BrokenCharactersLeaveTheSegmentOut) {
  for (const char* text : {"Faili \xff", "Faili \xef\xbf\xbd", "Faili \xee\x80\x80", "Faili \xef\xbf\xbf"})
    EXPECT_EQ(cleaned({"sw", "File", text}), "(broken characters)");
}

TEST(Clean, WhiteSpaceFoldsAndControlCharactersGo) {
  EXPECT_EQ(cleaned({"sw", " Open\n\tfile ", "Fungua\u00A0 \u2003 faili\x01\u00AD\uFEFF"}),
            "Open file=Fungua faili");
}

TEST(Clean, JoinersAndDirectionMarksStay) {
  EXPECT_EQ(fold_space("می\u200Cخواهم\u200F"), "می\u200Cخواهم\u200F");
  EXPECT_EQ(fold_space("ភាសា\u200Bខ្មែរ"), "ភាសា\u200Bខ្មែរ");
}

TEST(Clean, NothingLeftIsEmpty) {
  EXPECT_EQ(cleaned({"sw", "Open", " \n"}), "(empty)");
  EXPECT_EQ(cleaned({"sw", "<br/>", "Fungua"}), "(empty)");
}

TEST(Clean, CreditsAreNotForReaders) {
  EXPECT_EQ(cleaned({"sw", "translator-credits", "Amina Juma"}), "(not for readers)");
}

TEST(Clean, SameAsEnglishIsLeftOutExceptNamesOfCountriesAndLanguages) {
  EXPECT_EQ(cleaned({"sw", "Kenya", "Kenya"}), "(same as English)");
  EXPECT_EQ(cleaned({"sw", "Kenya", "Kenya", SegmentKind::kCountry}), "Kenya=Kenya");
  EXPECT_EQ(cleaned({"sw", "Shona", "Shona", SegmentKind::kLanguage}), "Shona=Shona");
  const char* untranslated = "British Antarctic Territory";
  EXPECT_EQ(cleaned({"wo", untranslated, untranslated, SegmentKind::kCountry}), "(same as English)");
}

TEST(Clean, PlaceholdersMustAgree) {
  EXPECT_EQ(cleaned({"sw", "%d files in folder %s", "Faili %1$d katika folda %2$s"}),
            "%d files in folder %s=Faili %1$d katika folda %2$s");
  EXPECT_EQ(cleaned({"sw", "%d files in folder %s", "Faili katika folda %s"}), "(placeholders differ)");
  EXPECT_EQ(cleaned({"sw", "Hello {name}, welcome", "Habari {jina}, karibu"}), "(placeholders differ)");
}

TEST(Clean, MostlySymbolsOrPlaceholdersAreLeftOut) {
  EXPECT_EQ(cleaned({"sw", "%s: %s (%d)", "%s: %s (%d) b"}), "(mostly symbols)");
  EXPECT_EQ(cleaned({"ja", "Yes", "はい"}), "Yes=はい");
  EXPECT_EQ(cleaned({"sw", "", "--- *** 123"}, TextStyle::kPlain), "=--- *** 123");
}

TEST(Clean, WrongScriptIsLeftOut) {
  EXPECT_EQ(cleaned({"am", "Open the file", "Open this file"}), "(wrong script)");
  EXPECT_EQ(cleaned({"sr-Latn", "Open the file", "Отвори датотеку"}), "(wrong script)");
  EXPECT_EQ(cleaned({"am", "Open the HTML file", "የHTML ፋይል ክፈት"}), "Open the HTML file=የHTML ፋይል ክፈት");
  EXPECT_EQ(cleaned({"ja", "Use HTTP here", "HTTP を使用"}), "Use HTTP here=HTTP を使用");
}

TEST(Clean, LanguageOfUnknownScriptMayUseAny) {
  EXPECT_FALSE(in_wrong_script("отвори", "zzz"));
  EXPECT_FALSE(in_wrong_script("12 %", "am"));
}

TEST(Clean, LengthsTooFarApartAreLeftOut) {
  const std::string longer(200, 'a');
  EXPECT_EQ(cleaned({"sw", "Open", longer.c_str()}), "(lengths far apart)");
  EXPECT_EQ(cleaned({"ja", "This document has been signed by someone", "署名あり"}),
            "This document has been signed by someone=署名あり");
}

TEST(Clean, ContextInsideTheMessageGoes) {
  EXPECT_EQ(cleaned({"sw", "Stock label|_Open", "_Fungua"}), "Open=Fungua");
  EXPECT_EQ(cleaned({"sw", "a|b", "c|d"}), "a|b=c|d");
}

TEST(Clean, PlainTextKeepsItsMarks) {
  EXPECT_EQ(cleaned({"sw", "", "Bei ni <b>5</b> & _zaidi"}, TextStyle::kPlain), "=Bei ni <b>5</b> & _zaidi");
}

TEST(Clean, MediaWikiMarkupIsReadAndRefusedTogether) {
  EXPECT_EQ(cleaned({"sw", "See [[Help:Main|help]] &amp; <b>more</b>",
                     "Tazama [[Help:Main|msaada]] &amp; <b>zaidi</b>"},
                    TextStyle::kMediawiki),
            "See help & more=Tazama msaada & zaidi");
  EXPECT_EQ(cleaned({"sw", "About {{SITENAME}}", "Kuhusu {{SITENAME}}"}, TextStyle::kMediawiki),
            "(markup without plain text)");
}

TEST(CleanAccelerator, MarkerGoesFromBothSides) {
  const std::vector<std::pair<Case, const char*>> cases = {
      {{"sw", "_File", "_Faili"}, "File=Faili"},
      {{"sw", "Save _As...", "Hifadhi _kama..."}, "Save As...=Hifadhi kama..."},
      {{"sw", "E&xit", "&Toka"}, "Exit=Toka"},
      {{"sw", "~Edit menu", "~Hariri menyu"}, "Edit menu=Hariri menyu"},
      {{"ko", "_File", "파일(_F)"}, "File=파일"},
      {{"de", "_Web", "_Web"}, "Web=Web"},
      {{"sw", "_Open", "Fungua"}, "Open=Fungua"}};
  for (const auto& [from, expected] : cases) {
    std::string english = from.english;
    std::string text = from.text;
    drop_accelerators(english, text);
    EXPECT_EQ(english + "=" + text, expected);
  }
}

TEST(CleanAccelerator, NamesKeepTheirMarks) {
  const std::vector<std::pair<const char*, const char*>> cases = {{"LC_ALL is not set", "LC_ALL haijawekwa"},
                                                                  {"AT&T assembler", "kiunganishi cha AT&T"},
                                                                  {"symbol _start", "alama _start"},
                                                                  {"a_b and c_d", "a_b na c_d"},
                                                                  {"R &amp; D", "U &amp; M"},
                                                                  {"this & that", "hii & hiyo"}};
  for (const auto& [english_before, text_before] : cases) {
    std::string english = english_before;
    std::string text = text_before;
    drop_accelerators(english, text);
    EXPECT_EQ(english, english_before);
    EXPECT_EQ(text, text_before);
  }
}

TEST(CleanMarkup, TagsGoAndOtherAngleBracketsStay) {
  EXPECT_EQ(strip_tags("<b>Open</b> <a href=\"$1\">it</a><!-- note -->"), "Open it");
  EXPECT_EQ(strip_tags("one<br/>two"), "one two");
  EXPECT_EQ(strip_tags("cp <source> <target>, a < b"), "cp <source> <target>, a < b");
}

TEST(CleanMarkup, EntitiesAreDecodedAndUnknownOnesStay) {
  EXPECT_EQ(decode_entities("R&amp;D &lt;x&gt; &#65;&#x1F33F; &mdash; &nosuch; & a; &"),
            "R&D <x> A🌿 — &nosuch; & a; &");
}

std::string found(std::string_view text) {
  std::string result;
  for (const Placeholder& placeholder : find_placeholders(text)) result += placeholder.meaning + " ";
  return result;
}

TEST(CleanPlaceholder, AllKindsAreFound) {
  EXPECT_EQ(found("%s %-5.2lf %2$s %*d %%"), "%s %f %s %d ");
  EXPECT_EQ(found("%<PRIu64> bytes, %i of %u"), "%d %d %d ");
  EXPECT_EQ(found("%(name)s {} {0} {name:>5} %{count}"), "%(name)s {} {0} {name:>5} %{count} ");
  EXPECT_EQ(found("$1 ${name} $(ARG1) $HOME %1 %PRODUCTNAME"), "$1 ${name} $(ARG1) $HOME %1 %PRODUCTNAME ");
}

TEST(CleanPlaceholder, PercentagesAndBracesInProseAreNone) {
  EXPECT_EQ(found("50 % de 100%, {a b, c} and $ 5"), "");
}

TEST(CleanPlaceholder, NumberedOnesMayRepeatAndPrintfOnesMayNot) {
  EXPECT_TRUE(same_placeholders("$1 and $2", "$2, $1 ($1)"));
  EXPECT_FALSE(same_placeholders("$1 and $2", "$1"));
  EXPECT_FALSE(same_placeholders("%s", "%s %s"));
  EXPECT_TRUE(same_placeholders("%5.2f", "%f"));
}

TEST(CleanNote, ClassifyingTemplatesAndSeeAlsoGo) {
  EXPECT_EQ(
      clean_note(
          "{{Identical|Save}}\nText of the ''save'' button on [[Special:Upload]].\n\nParameters:\n* $1 - "
          "user name\n* $2 - see {{msg-mw|Other-key}}\nSee also:\n* {{msg-mw|X}}"),
      "Text of the save button on Special:Upload. Parameters: $1 - user name; $2 - see \"Other-key\"");
  EXPECT_EQ(clean_note("{{Identical|Save}} {{optional}}"), "");
}

}  // namespace
}  // namespace fern
