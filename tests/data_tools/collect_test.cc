#include "data_tools/collect.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "data_tools/segment.h"
#include "framework/core/error.h"
#include "framework/core/file_lock.h"
#include "tests/data_tools/mo_writer.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

class Collect : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / fmt::format("collect_{}", getpid()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
  }

  void TearDown() override { fs::remove_all(root_); }

  fs::path write_file(const std::string& name, const std::string& content) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << content;
    return root_ / name;
  }

  CollectOptions options(const std::vector<std::string>& sources) {
    return {.sources = sources, .out = root_ / "out", .threads = 2};
  }

  CollectOutcome run(const CollectOptions& options) {
    return collect(options, [](const CollectProgress&) {});
  }

  std::string error_of(const CollectOptions& options) {
    try {
      run(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::vector<Segment> read(const std::string& language) {
    std::vector<Segment> segments;
    read_segments(root_ / "out/segments" / (language + ".jsonl"),
                  [&](Segment segment) { segments.push_back(std::move(segment)); });
    return segments;
  }

  static std::string content_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  void expect_error(const CollectOptions& options, const std::vector<std::string>& parts) {
    const std::string message = error_of(options);
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  fs::path root_;
};

TEST_F(Collect, GettextPairsComeWithKindAndProvenance) {
  write_file("p/usr/share/doc/iso-codes/copyright", "words");
  write_file("p/sw/LC_MESSAGES/iso_3166-1.mo", make_mo({{"Kenya", "Kenya"}, {"Egypt", "Misri"}}));
  write_file("p/sw/LC_MESSAGES/app.mo", make_mo({{"menu\4_Open", "_Fungua"}, {"Egypt", "Misri"}}));
  run(options({"gettext:" + (root_ / "p").string()}));
  const auto segments = read("sw");
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_EQ(segments[0].text, "Kenya");
  EXPECT_EQ(segments[1].kind, SegmentKind::kCountry);
  EXPECT_EQ(segments[2].english, "Open");
  EXPECT_EQ(segments[2].text, "Fungua");
  EXPECT_EQ(segments[2].key, "menu");
  const auto origins = read_origins(root_ / "out/origins.jsonl");
  const Origin& origin = origins.at(static_cast<size_t>(segments[0].origin));
  EXPECT_EQ(origin.source, "iso-codes");
  EXPECT_EQ(origin.package, "iso-codes");
  EXPECT_EQ(origin.licence, "see /usr/share/doc/iso-codes/copyright");
  EXPECT_EQ(origins.at(static_cast<size_t>(segments[2].origin)).source, "gettext");
}

TEST_F(Collect, MediaWikiMessagesComeWithNotesAndEnglishAlone) {
  write_file("w/i18n/en.json", R"({"@metadata": {}, "save": "Save", "name": "MediaWiki"})");
  write_file("w/i18n/sw.json",
             R"({"@metadata": {"authors": []}, "save": "Hifadhi", "old": "Zamani", "name": "Wiki hii"})");
  write_file("w/i18n/qqq.json", R"({"save": "Text of a button.", "name": "{{notranslate}}"})");
  write_file("w/i18n/de-formal.json", R"({"save": "Speichern"})");
  run(options({(root_ / "w").string()}));
  const auto segments = read("sw");
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0].english, "Save");
  EXPECT_EQ(segments[0].note, "Text of a button.");
  EXPECT_EQ(read("en").at(0).english, "");
  EXPECT_EQ(read("en").at(0).text, "Save");
  EXPECT_NE(describe_collection(root_ / "out").find("de-formal (1)"), std::string::npos);
}

TEST_F(Collect, JsonlKeepsLanguagesApartAndCountsUnknownCodes) {
  const fs::path file = write_file("a.jsonl",
                                   "{\"text\": \"Molo\", \"language\": \"xh\"}\n"
                                   "{\"text\": \"Mhoro\", \"language\": \"sn\", \"english\": \"Hello\"}\n"
                                   "{\"text\": \"?\", \"language\": \"tongues\"}\n");
  CollectOptions with_licence = options({file.string()});
  with_licence.licence = "CC0-1.0";
  run(with_licence);
  EXPECT_EQ(read("xh").at(0).kind, SegmentKind::kProse);
  EXPECT_EQ(read("sn").at(0).kind, SegmentKind::kMessage);
  EXPECT_EQ(read_origins(root_ / "out/origins.jsonl").at(0).licence, "CC0-1.0");
  EXPECT_NE(describe_collection(root_ / "out").find("tongues (1)"), std::string::npos);
}

TEST_F(Collect, TextIsSplitAtLinesOrAtBlankLines) {
  write_file("t/zu.txt", "Sawubona\nUnjani\n");
  write_file("t/xh.txt", "Molo\nbhuti\n\nUnjani\n\n\n");
  run(options({"text:" + (root_ / "t").string()}));
  ASSERT_EQ(read("zu").size(), 2u);
  ASSERT_EQ(read("xh").size(), 2u);
  EXPECT_EQ(read("xh")[0].text, "Molo bhuti");
}

TEST_F(Collect, BarePathIsRecognisedByWhatItHolds) {
  write_file("b/sw/LC_MESSAGES/app.mo", make_mo({{"Open", "Fungua"}}));
  write_file("b/yo.txt", "Bawo ni\n");
  run(options({(root_ / "b").string()}));
  EXPECT_EQ(read("sw").size(), 1u);
  EXPECT_FALSE(fs::exists(root_ / "out/segments/yo.jsonl"));
  write_file("b/more.jsonl", "{\"text\": \"Molo\", \"language\": \"xh\"}\n");
  expect_error(options({(root_ / "b").string()}), {"several kinds", "gettext:"});
}

TEST_F(Collect, TextFilesOfAFolderAreThoseDirectlyInIt) {
  write_file("t/zu.txt", "Sawubona\n");
  write_file("t/doc/faq.txt", "Questions\n");
  run(options({"text:" + (root_ / "t").string() + "/"}));
  EXPECT_EQ(read("zu").size(), 1u);
  EXPECT_FALSE(fs::exists(root_ / "out/segments/faq.jsonl"));
}

TEST_F(Collect, DuplicatesWithinALanguageAreLeftOut) {
  const fs::path file = write_file("words", "Molo\nMolo\nUnjani\n");
  run(options({"text:" + file.string() + ":xh"}));
  EXPECT_EQ(read("xh").size(), 2u);
}

TEST_F(Collect, LimitKeepsTheSameMessagesInEachLanguage) {
  std::string lines;
  for (int i = 0; i < 50; ++i)
    for (const char* language : {"xh", "zu"})
      lines += fmt::format(R"({{"text": "{} text {}", "english": "message {}", "language": "{}"}})", language,
                           i, i, language) +
               "\n";
  CollectOptions few = options({write_file("a.jsonl", lines).string()});
  few.max_per_language = 7;
  run(few);
  const auto xh = read("xh");
  const auto zu = read("zu");
  ASSERT_EQ(xh.size(), 7u);
  ASSERT_EQ(zu.size(), 7u);
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(xh[i].english, zu[i].english);
}

TEST_F(Collect, OnlyWantedLanguagesAreCollected) {
  write_file("t/zu.txt", "Sawubona\n");
  write_file("t/xh.txt", "Molo\n");
  CollectOptions some = options({"text:" + (root_ / "t").string()});
  some.languages = {"zu", "yo"};
  run(some);
  EXPECT_FALSE(fs::exists(root_ / "out/segments/xh.jsonl"));
  EXPECT_EQ(read("zu").size(), 1u);
  EXPECT_NE(describe_collection(root_ / "out").find("no text in language yo"), std::string::npos);
}

TEST_F(Collect, ResultDoesNotDependOnThreads) {
  for (const char* language : {"zu", "xh", "sw", "yo"})
    write_file(fmt::format("t/{}.txt", language), "Moja\nMbili\n");
  CollectOptions one = options({"text:" + (root_ / "t").string()});
  one.threads = 1;
  run(one);
  const std::string manifest = content_of(root_ / "out/collection.json");
  fs::remove_all(root_ / "out");
  one.threads = 4;
  run(one);
  EXPECT_EQ(content_of(root_ / "out/collection.json"), manifest);
}

TEST_F(Collect, SecondRunDoesNothingUntilAFileChanges) {
  const fs::path file = write_file("words", "Molo\n");
  const CollectOptions same = options({"text:" + file.string() + ":xh"});
  EXPECT_EQ(run(same), CollectOutcome::kWritten);
  EXPECT_EQ(run(same), CollectOutcome::kUpToDate);
  write_file("words", "Molo\nUnjani\n");
  EXPECT_EQ(run(same), CollectOutcome::kWritten);
  EXPECT_EQ(read("xh").size(), 2u);
  EXPECT_FALSE(fs::exists(root_ / "out.partial"));
}

TEST_F(Collect, OtherFoldersAreNotOverwritten) {
  write_file("out/thesis.txt", "do not lose");
  expect_error(options({"text:" + write_file("words", "Molo\n").string() + ":xh"}), {"is not a collection"});
  EXPECT_TRUE(fs::exists(root_ / "out/thesis.txt"));
}

TEST_F(Collect, WhatWasLeftOutIsToldOnlyWhenSomethingWas) {
  run(options({"text:" + write_file("words", "Molo\n").string() + ":xh"}));
  EXPECT_EQ(describe_collection(root_ / "out").find("left out"), std::string::npos);
  run(options({"text:" + write_file("words", "Molo\nMolo\n").string() + ":xh"}));
  EXPECT_NE(describe_collection(root_ / "out").find("left out"), std::string::npos);
}

TEST_F(Collect, ASecondOneAtTheSameTimeIsRefused) {
  const FileLock first(root_ / ".out.lock", "");
  expect_error(options({"text:" + write_file("words", "Molo\n").string() + ":xh"}), {"another fern collect"});
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(Collect, ThingsThatAreNeitherFileNorFolderAreNoSource) {
  expect_error(options({"/dev/null"}), {"source /dev/null", "holds nothing that is known"});
}

TEST_F(Collect, FailedRunLeavesTheOldCollection) {
  const fs::path file = write_file("words", "Molo\n");
  const CollectOptions same = options({"text:" + file.string() + ":xh"});
  run(same);
  write_file("words", "M\xff\n");
  expect_error(same, {"words, line 1", "UTF-8"});
  EXPECT_EQ(read("xh").at(0).text, "Molo");
}

TEST_F(Collect, BadSourcesSayWhatIsWrong) {
  write_file("empty/nothing.bin", "");
  const std::string root = root_.string();
  expect_error(options({root + "/nowhere"}), {"nowhere", "no such file"});
  expect_error(options({root + "/empty"}), {"empty", "holds nothing that is known"});
  expect_error(options({"gettext:" + root + "/empty"}), {"holds no catalogues"});
  expect_error(options({"text:" + write_file("words", "Molo\n").string() + ":english"}),
               {"not a language code"});
  expect_error(options({}), {"at least one SOURCE"});
}

TEST_F(Collect, BadFilesAreNamed) {
  write_file("g/sw/LC_MESSAGES/app.mo", make_mo({{"Open", "Fungua"}}).substr(0, 40));
  expect_error(options({"gettext:" + (root_ / "g").string()}), {"app.mo", "truncated or corrupt"});
  write_file("w/en.json", R"({"save": "Save"})");
  write_file("w/qqq.json", "{}");
  write_file("w/sw.json", "{\"save\":\n oops}");
  expect_error(options({"mediawiki:" + (root_ / "w").string()}), {"sw.json", "line 2"});
  write_file("w/sw.json", R"({"save": 3})");
  expect_error(options({"mediawiki:" + (root_ / "w").string()}), {"sw.json", "\"save\""});
}

TEST_F(Collect, NoTextAtAllIsAnError) {
  expect_error(options({"text:" + write_file("words", "\n\n").string() + ":xh"}), {"nothing collected"});
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

}  // namespace
}  // namespace fern
