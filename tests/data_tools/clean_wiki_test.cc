#include "data_tools/clean_wiki.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

std::string plain(std::string_view text) { return strip_wiki(text).value_or("(refused)"); }

TEST(CleanWiki, PluralGivesItsLastForm) {
  EXPECT_EQ(plain("$1 {{PLURAL:$1|edit|edits}}"), "$1 edits");
  EXPECT_EQ(plain("{{PLURAL:$1|0=none|1=one|some|many}}"), "many");
  EXPECT_EQ(plain("{{PLURAL:$1|some|12=a dozen}}"), "some");
  EXPECT_EQ(plain("{{PLURAL:$2|only this|the {{PLURAL:$1|page|$1 pages}} of $2}}"), "the $1 pages of $2");
}

TEST(CleanWiki, GenderGivesItsFirstForm) { EXPECT_EQ(plain("{{GENDER:$1|his|her|their}} talk"), "his talk"); }

TEST(CleanWiki, LinksLeaveTheirLabels) {
  EXPECT_EQ(plain("[[Special:Log|the log]] and [[:Help]]"), "the log and Help");
  EXPECT_EQ(plain("[https://example.org/x our site] [$1 it] [sic]"), "our site it [sic]");
  EXPECT_EQ(plain("[[File:a.png|thumb|x]]See [[$1|thumb]]this"), "See this");
}

TEST(CleanWiki, QuotesHeadingsListsAndSwitchesGo) {
  EXPECT_EQ(plain("== Title ==\n* '''bold''' and ''italic''\n# two\n__NOTOC__"),
            " Title \n bold and italic\n two");
  EXPECT_EQ(plain("#tag and *star"), "#tag and *star");
}

TEST(CleanWiki, WhatHasNoPlainTextIsRefused) {
  for (const char* text :
       {"{{SITENAME}}", "{{GRAMMAR:genitive|x}}", "{{int:save}}", "{{PLURAL:$1|a", "a}}", "[[a",
        "{| table |}", "~~~~", "-{zh-hans:a}-", "/* css */", "{{PLURAL:$1}}", "{{}}"})
    EXPECT_EQ(plain(text), "(refused)") << text;
}

TEST(CleanWiki, DeepNestingIsRefusedNotFollowed) {
  std::string text = "x";
  for (int i = 0; i < 1000; ++i) text = "{{PLURAL:$1|" + text + "}}";
  EXPECT_EQ(plain(text), "(refused)");
}

}  // namespace
}  // namespace fern
