#include "data_tools/segment.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "framework/core/error.h"

namespace fern {
namespace {

std::filesystem::path write_file(const std::string& name, const std::string& content) {
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / fmt::format("segment_test_{}_{}", getpid(), name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::vector<Segment> read_all(const std::filesystem::path& path) {
  std::vector<Segment> segments;
  read_segments(path, [&](Segment segment) { segments.push_back(std::move(segment)); });
  return segments;
}

std::string error_of(const std::string& content) {
  try {
    read_all(write_file("bad.jsonl", content));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Segment, SurvivesWritingAndReading) {
  const Segment before = {.language = "am",
                          .english = "Save \"it\"",
                          .text = "አስቀምጥ\t\\ \x01",
                          .note = "a button",
                          .key = "save",
                          .kind = SegmentKind::kLanguage,
                          .origin = 7};
  const std::vector<Segment> after = read_all(write_file("round.jsonl", to_json_line(before) + "\n"));
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].language, before.language);
  EXPECT_EQ(after[0].english, before.english);
  EXPECT_EQ(after[0].text, before.text);
  EXPECT_EQ(after[0].note, before.note);
  EXPECT_EQ(after[0].key, before.key);
  EXPECT_EQ(after[0].kind, before.kind);
  EXPECT_EQ(after[0].origin, before.origin);
}

TEST(Segment, PlainTextAndLanguageAreEnough) {
  const auto segments =
      read_all(write_file("plain.jsonl",
                          "{\"text\": \"Molo\", \"language\": \"xh\", \"id\": [1, {}]}\r\n\n"
                          "{\"language\": \"zu\", \"text\": \"Sawubona\"}"));
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[0].text, "Molo");
  EXPECT_EQ(segments[1].language, "zu");
  EXPECT_EQ(segments[1].kind, SegmentKind::kMessage);
}

TEST(Segment, AByteOrderMarkIsNotPartOfTheFirstLine) {
  const auto segments =
      read_all(write_file("mark.jsonl", "\xEF\xBB\xBF{\"text\": \"Molo\", \"language\": \"xh\"}\n"));
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0].text, "Molo");
}

TEST(Segment, BadLineIsNamedByFileAndNumber) {
  const std::string good = "{\"text\": \"a\", \"language\": \"xh\"}\n";
  for (const char* bad :
       {"{\"text\": \"a\"", "[]", "{\"text\": \"a\"}", "{\"text\": 3, \"language\": \"xh\"}",
        "{\"text\": \"\", \"language\": \"xh\"}", "{\"text\": \"a\", \"language\": \"xh\", \"origin\": -1}",
        "{\"text\": \"a\", \"language\": \"xh\", \"kind\": \"poem\"}",
        "{\"text\": \"\xff\", \"language\": \"xh\"}", "{\"text\": \"a\", \"language\": \"xh\"} x"}) {
    const std::string message = error_of(good + bad + "\n" + good);
    EXPECT_NE(message.find("bad.jsonl, line 2:"), std::string::npos) << bad << " gave: " << message;
  }
}

TEST(Segment, MissingFileIsNamed) {
  try {
    read_all("/nowhere/some.jsonl");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/some.jsonl"), std::string::npos);
  }
}

TEST(Segment, TextThatIsNotUtf8IsNotWritten) {
  EXPECT_THROW(to_json_line(Segment{.language = "xh", .text = "\xff"}), Error);
}

TEST(Origin, SurvivesWritingAndReading) {
  const Origin before = {"gettext", "bash", "5.2", "GPL-3+", "/usr/share/locale/xh/LC_MESSAGES/bash.mo"};
  const auto after = read_origins(write_file("origins.jsonl", to_json_line(before) + "\n"));
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].source, before.source);
  EXPECT_EQ(after[0].package, before.package);
  EXPECT_EQ(after[0].version, before.version);
  EXPECT_EQ(after[0].licence, before.licence);
  EXPECT_EQ(after[0].file, before.file);
}

}  // namespace
}  // namespace fern
