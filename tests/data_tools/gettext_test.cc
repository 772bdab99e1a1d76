#include "data_tools/gettext.h"

#include <gtest/gtest.h>

#include <random>

#include "framework/core/error.h"
#include "tests/data_tools/mo_writer.h"

namespace fern {
namespace {

using std::string_literals::operator""s;

std::string sample(bool swapped = false) {
  return make_mo(
      {{"",
        "Language: xh\nContent-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n != 1;\n"},
       {"menu\4Open", "Vula"},
       {"one file\0%d files"s, "ifayile\0iifayile ezi-%d"s}},
      swapped);
}

std::string error_of(const std::string& bytes) {
  try {
    parse_gettext(bytes, "some.mo");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Gettext, ReadsContextPluralsAndHeaderInBothByteOrders) {
  for (const bool swapped : {false, true}) {
    const GettextCatalogue catalogue = parse_gettext(sample(swapped), "some.mo");
    EXPECT_EQ(catalogue.header.at("Language"), "xh");
    ASSERT_EQ(catalogue.entries.size(), 2u);
    EXPECT_EQ(catalogue.entries[0].context, "menu");
    EXPECT_EQ(catalogue.entries[0].id, "Open");
    EXPECT_EQ(catalogue.entries[0].texts, std::vector<std::string>{"Vula"});
    EXPECT_EQ(catalogue.entries[1].id, "one file");
    EXPECT_EQ(catalogue.entries[1].plural, "%d files");
    EXPECT_EQ(catalogue.entries[1].texts, (std::vector<std::string>{"ifayile", "iifayile ezi-%d"}));
  }
}

TEST(Gettext, CharsetOfTheHeaderIsHonoured) {
  const auto catalogue = parse_gettext(
      make_mo({{"", "Content-Type: text/plain; charset=ISO-8859-1\n"}, {"Cafe", "Caf\xe9"}}), "some.mo");
  EXPECT_EQ(catalogue.entries.at(0).texts.at(0), "Café");
}

TEST(Gettext, BytesOutsideTheCharsetBecomeReplacementCharacters) {
  const auto catalogue =
      parse_gettext(make_mo({{"", "Content-Type: text/plain; charset=UTF-8\n"}, {"a", "b\xff"}}), "x");
  EXPECT_EQ(catalogue.entries.at(0).texts.at(0), "b\xef\xbf\xbd");
}

TEST(Gettext, UnknownCharsetIsAnError) {
  const std::string message = error_of(make_mo({{"", "Content-Type: text/plain; charset=KLINGON-8\n"}}));
  EXPECT_NE(message.find("some.mo"), std::string::npos);
  EXPECT_NE(message.find("KLINGON-8"), std::string::npos);
}

TEST(Gettext, OtherFilesAreRefused) {
  EXPECT_NE(error_of("").find("got 0 bytes"), std::string::npos);
  EXPECT_NE(error_of("<!DOCTYPE html> and some more bytes").find("expected a gettext catalogue"),
            std::string::npos);
}

TEST(Gettext, EveryTruncationIsAnError) {
  const std::string whole = sample();
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_NE(error_of(whole.substr(0, size)), "") << size;
}

TEST(Gettext, OffsetOutsideTheFileIsAnError) {
  std::string bytes = sample();
  for (int i = 0; i < 4; ++i) bytes[static_cast<size_t>(28 + 8 + 4 + i)] = '\xff';
  EXPECT_NE(error_of(bytes).find("truncated or corrupt"), std::string::npos);
}

TEST(Gettext, RandomDamageIsAnErrorOrStillReads) {
  std::mt19937 random(1);
  const std::string whole = sample();
  for (int round = 0; round < 5000; ++round) {
    std::string bytes = whole;
    for (int flips = 0; flips < 4; ++flips)
      bytes[random() % bytes.size()] ^= static_cast<char>(1u << (random() % 8));
    error_of(bytes);
  }
}

}  // namespace
}  // namespace fern
