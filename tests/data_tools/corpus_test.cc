#include "data_tools/corpus.h"

#include <gtest/gtest.h>

#include <map>

#include "framework/core/error.h"
#include "tests/data_tools/small_collection.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

fs::path file_of(const std::vector<Segment>& segments) {
  const fs::path file = fs::path(testing::TempDir()) / "corpus.jsonl";
  write_lines(file, segments);
  return file;
}

Corpus corpus_of(const std::vector<Segment>& segments, int64_t max_segments = 0) {
  return read_corpus("sw", {{.path = file_of(segments), .origins = nullptr}}, {.max_segments = max_segments});
}

Segment pair(const std::string& english, const std::string& text) {
  return {.language = "sw", .english = english, .text = text};
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Corpus, CountsWhatItLeavesOut) {
  const Corpus corpus = corpus_of({pair("Open", "Fungua"), pair("_Open…", "Fungua."), pair("Open", "Funga"),
                                   pair("GIMP", "gimp"), pair("%d of %s", "%1$d: %2$s"), pair("", "Habari")});
  EXPECT_EQ(corpus.counts.read, 6);
  EXPECT_EQ(corpus.counts.kept, 3);
  EXPECT_EQ(corpus.counts.duplicate, 1);
  EXPECT_EQ(corpus.counts.identical, 1);
  EXPECT_EQ(corpus.counts.wordless, 1);
}

TEST(Corpus, NamesMayEqualTheirEnglish) {
  Segment kenya = pair("Kenya", "Kenya");
  kenya.kind = SegmentKind::kCountry;
  EXPECT_EQ(corpus_of({kenya}).counts.kept, 1);
}

TEST(Corpus, PlaceholdersAreNoWords) {
  for (const char* text :
       {"", "  ", "%s", "%(count)d", "{0} {name}", "$1: $name", "@user@ 42", "%-5.2lf%%", "→ 12"})
    EXPECT_FALSE(has_words(text)) << text;
  for (const char* text : {"a", "%s a", "{ open", "ሀ", "me@here", "50 % mehr"})
    EXPECT_TRUE(has_words(text)) << text;
}

TEST(Corpus, CapKeepsASampleInOrder) {
  const auto segments = small_segments("sw", 300);
  const Corpus corpus = corpus_of(segments, 100);
  EXPECT_EQ(corpus.counts.kept, 100);
  EXPECT_EQ(corpus.counts.over_cap, 200);
  size_t at = 0;
  bool beyond_the_first = false;
  for (const CorpusSegment& kept : corpus.segments) {
    while (at < segments.size() && segments[at].text != kept.segment.text) ++at;
    ASSERT_LT(at, segments.size()) << "out of order";
    beyond_the_first = beyond_the_first || at >= 100;
  }
  EXPECT_TRUE(beyond_the_first);
}

TEST(Corpus, AMessageHasOneSplitInAllLanguages) {
  const fs::path folder = fs::path(testing::TempDir()) / "two";
  std::map<uint64_t, Split> seen;
  for (const std::string language : {"am", "sw"}) {
    write_lines(folder / (language + ".jsonl"), small_segments(language, 300));
    const Corpus corpus =
        read_corpus(language, {{.path = folder / (language + ".jsonl"), .origins = nullptr}}, {});
    for (const CorpusSegment& segment : corpus.segments) {
      const auto [at, fresh] = seen.try_emplace(segment.key, segment.split);
      EXPECT_EQ(at->second, segment.split);
    }
  }
  EXPECT_EQ(seen.size(), 300u);
}

TEST(Corpus, InvalidUtf8IsRefusedWithFileAndLine) {
  const fs::path file = file_of({pair("Open", "Fungua")});
  std::ofstream(file, std::ios::app) << "{\"language\": \"sw\", \"text\": \"a\xff\"}\n";
  const std::string message = error_of([&] { read_corpus("sw", {{.path = file, .origins = nullptr}}, {}); });
  EXPECT_NE(message.find("corpus.jsonl, line 2"), std::string::npos) << message;
}

TEST(Corpus, AnotherLanguageInTheFileIsRefused) {
  const std::string message = error_of([] {
    corpus_of({pair("a", "b"), {.language = "am", .text = "c d"}});
  });
  EXPECT_NE(message.find("found one in am"), std::string::npos) << message;
}

TEST(SegmentFiles, FindsCollectionsFoldersAndFiles) {
  const fs::path root = fs::path(testing::TempDir()) / "found";
  fs::remove_all(root);
  add_language(root / "collection", "am", 3);
  write_lines(root / "lone.jsonl", small_segments("am", 2));
  write_lines(root / "folder" / "x.jsonl", small_segments("sw", 2));
  const auto files = find_segment_files(
      {(root / "collection").string(), (root / "lone.jsonl").string(), (root / "folder").string()});
  ASSERT_EQ(files.size(), 2u);
  ASSERT_EQ(files.at("am").size(), 2u);
  EXPECT_EQ(files.at("am")[0].source_of({}), "gettext");
  EXPECT_EQ(files.at("am")[1].source_of({}), "jsonl");
  EXPECT_THROW(files.at("am")[0].source_of({.origin = 1}), Error);
}

TEST(SegmentFiles, NothingToReadIsRefused) {
  const fs::path root = fs::path(testing::TempDir()) / "nothing";
  fs::create_directories(root);
  EXPECT_NE(error_of([&] { find_segment_files({root.string()}); }).find("no segments in"), std::string::npos);
  EXPECT_NE(error_of([&] { find_segment_files({"/no/such"}); }).find("/no/such is not there"),
            std::string::npos);
}

}  // namespace
}  // namespace fern
