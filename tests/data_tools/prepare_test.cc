#include "data_tools/prepare.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "framework/core/error.h"
#include "framework/core/file_lock.h"
#include "framework/core/hash.h"
#include "framework/data/shard.h"
#include "tests/data_tools/small_collection.h"
#include "tokenizer/tokenizer.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// A recipe over a fresh collection of two languages with enough text and one without.
class Prepare : public testing::Test {
 protected:
  Prepare() {
    fs::remove_all(root_);
    add_language(root_ / "collection", "am", 200);
    add_language(root_ / "collection", "sw", 300);
    add_language(root_ / "collection", "xh", 10);
    recipe_.file = root_ / "recipe.toml";
    recipe_.model.context = 128;
    recipe_.tokenizer.vocabulary = 320;
    recipe_.data.segments = {(root_ / "collection").string()};
    recipe_.data.folder = (root_ / "prepared").string();
    recipe_.data.templates = FERN_TEMPLATES;
    recipe_.data.min_segments = 50;
    recipe_.data.valid_percent = recipe_.data.test_percent = 10;
    recipe_.data.tokenizer_mb = 1;
    recipe_.threads = 2;
  }

  std::string run() {
    std::ostringstream out;
    WorkProgress progress(out, false);
    prepare(recipe_, progress);
    return out.str();
  }

  std::string error() {
    try {
      run();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder() const { return recipe_.data.folder; }

  nlohmann::json manifest() const {
    std::ifstream file(folder() / "prepare.json");
    return nlohmann::json::parse(file);
  }

  std::map<std::string, std::string> hashes() const {
    std::map<std::string, std::string> hashes;
    for (const auto& entry : fs::recursive_directory_iterator(folder()))
      if (entry.is_regular_file())
        hashes[fs::relative(entry.path(), folder()).string()] = sha256_of_file(entry.path());
    return hashes;
  }

  const fs::path root_ = fs::path(testing::TempDir()) / "prepare";
  Recipe recipe_;
};

TEST_F(Prepare, MakesTokenizerShardsAndManifest) {
  const std::string said = run();
  const Tokenizer tokenizer(folder() / "tokenizer.model");
  EXPECT_EQ(tokenizer.vocabulary(), 320);
  const auto json = manifest();
  EXPECT_EQ(json.at("tokenizer").at("sha256"), tokenizer.sha256());
  EXPECT_EQ(json.at("languages").size(), 2u);
  for (const std::string split : {"train", "valid", "test"}) {
    for (const std::string language : {"am", "sw"}) {
      const Shard shard(folder() / split / (language + ".gettext.h5"));
      shard.verify();
      shard.expect_made_with(tokenizer.sha256(), 128);
      EXPECT_EQ(shard.header().split, split);
      EXPECT_EQ(shard.documents(), json.at("languages").at(language).at("splits").at(split).at("documents"));
    }
  }
  EXPECT_NE(said.find("parity"), std::string::npos);
}

TEST_F(Prepare, EverySegmentIsOneExample) {
  run();
  int64_t documents = 0;
  for (const std::string split : {"train", "valid", "test"})
    documents += Shard(folder() / split / "sw.gettext.h5").documents();
  EXPECT_EQ(documents, 300);
}

TEST_F(Prepare, CompletionIsTheEndOfTheText) {
  run();
  const Tokenizer tokenizer(folder() / "tokenizer.model");
  const Shard shard(folder() / "train" / "sw.gettext.h5");
  const PackedSequence sequence = shard.sequence(0);
  const int64_t start = sequence.document_offsets[0];
  std::vector<int32_t> completion;
  for (int64_t i = 0; i < sequence.document_offsets[1] - start; ++i)
    if (sequence.loss[i]) completion.push_back(sequence.tokens[i]);
  ASSERT_FALSE(completion.empty());
  EXPECT_EQ(completion.back(), tokenizer.end_id());
  const std::string_view text = shard.document_text(shard.first_document(0));
  EXPECT_EQ(tokenizer.decode(completion), text.substr(text.size() - sequence.document_loss_bytes[0]));
}

TEST_F(Prepare, TooSmallLanguagesAreLeftOutAndNamed) {
  const std::string said = run();
  EXPECT_EQ(manifest().at("left_out").at("xh"), "fewer than data.min_segments = 50 distinct segments (10)");
  EXPECT_NE(said.find("left out, fewer than data.min_segments = 50 distinct segments: xh (10)"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(folder() / "train" / "xh.gettext.h5"));
}

TEST_F(Prepare, LanguageWithOneSentenceIsLeftOut) {
  add_language(root_ / "collection", "zu", 1);
  run();
  EXPECT_EQ(manifest().at("left_out").at("zu"), "fewer than data.min_segments = 50 distinct segments (1)");
}

TEST_F(Prepare, OnlyLanguageWithOneSentenceIsRefused) {
  fs::remove_all(root_ / "collection");
  add_language(root_ / "collection", "zu", 1);
  EXPECT_NE(error().find("no language has enough text. The nearest is zu (Zulu)"), std::string::npos);
}

TEST_F(Prepare, NothingLeftToTrainOnIsRefused) {
  recipe_.data.valid_percent = recipe_.data.test_percent = 50;
  EXPECT_NE(error().find("none is left to train on"), std::string::npos) << error();
}

TEST_F(Prepare, SecondRunDoesNothing) {
  run();
  const auto written = fs::last_write_time(folder() / "tokenizer.model");
  EXPECT_NE(run().find("nothing to do"), std::string::npos);
  EXPECT_EQ(fs::last_write_time(folder() / "tokenizer.model"), written);
}

TEST_F(Prepare, AnotherSettingMakesItAgainAndSaysWhich) {
  run();
  recipe_.data.max_segments = 100;
  EXPECT_NE(run().find("other settings (max_segments)"), std::string::npos);
  EXPECT_EQ(manifest().at("languages").at("sw").at("segments").at("kept"), 100);
  add_language(root_ / "collection", "am", 180);
  EXPECT_NE(run().find("other settings (segments)"), std::string::npos);
}

TEST_F(Prepare, SeedOfTrainingIsNoSetting) {
  run();
  recipe_.seed = 99;
  EXPECT_NE(run().find("nothing to do"), std::string::npos);
}

TEST_F(Prepare, SameBytesOnAnyNumberOfThreads) {
  run();
  const auto first = hashes();
  fs::remove_all(folder());
  recipe_.threads = 1;
  run();
  EXPECT_EQ(hashes(), first);
}

// A shard that cannot be written stops the run half way; once it can, only what is missing is made.
TEST_F(Prepare, InterruptedRunLeavesNoFolderAndGoesOn) {
  run();
  const auto whole = hashes();
  const auto settings = manifest().at("settings");
  fs::remove_all(folder());
  recipe_.threads = 1;
  const fs::path obstacle = folder().string() + ".partial";
  fs::create_directories(obstacle);
  std::ofstream(obstacle / "settings.json") << settings;
  fs::create_directories(obstacle / "reports");
  fs::create_directories(obstacle / "test" / "am.gettext.h5" / "in the way");
  EXPECT_NE(error(), "");
  EXPECT_FALSE(fs::exists(folder()));
  EXPECT_TRUE(fs::exists(obstacle / "tokenizer.model"));
  const auto kept = fs::last_write_time(obstacle / "train" / "sw.gettext.h5");
  fs::remove_all(obstacle / "test" / "am.gettext.h5");
  EXPECT_NE(run().find("going on"), std::string::npos);
  EXPECT_EQ(fs::last_write_time(folder() / "train" / "sw.gettext.h5"), kept);
  EXPECT_EQ(hashes(), whole);
  EXPECT_FALSE(fs::exists(obstacle));
}

TEST_F(Prepare, ASecondOneAtTheSameTimeIsRefused) {
  const FileLock first(root_ / ".prepared.lock", "");
  EXPECT_NE(error().find("another fern prepare"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder()));
}

TEST_F(Prepare, FolderOfSomeoneElseIsNotTouched) {
  fs::create_directories(folder());
  std::ofstream(folder() / "thesis.tex") << "text";
  EXPECT_NE(error().find("fern prepare did not make it"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder() / "thesis.tex"));
}

TEST_F(Prepare, UnwritableFolderIsNamed) {
  recipe_.data.folder = "/proc/fern/prepared";
  EXPECT_NE(error().find("/proc/fern/prepared.partial"), std::string::npos) << error();
}

TEST_F(Prepare, EmptyCorpusIsRefused) {
  fs::remove_all(root_ / "collection");
  fs::create_directories(root_ / "collection");
  EXPECT_NE(error().find("no segments in"), std::string::npos);
}

TEST_F(Prepare, InvalidUtf8IsRefusedWithFileAndLine) {
  std::ofstream(root_ / "collection" / "segments" / "sw.jsonl", std::ios::app)
      << "{\"language\": \"sw\", \"text\": \"\xc3(\"}\n";
  EXPECT_NE(error().find("sw.jsonl, line 301"), std::string::npos);
}

TEST_F(Prepare, VocabularyTooLargeForTheTextNamesOneThatWouldDo) {
  recipe_.tokenizer.vocabulary = 30000;
  EXPECT_NE(error().find("Set tokenizer.vocabulary to"), std::string::npos);
}

TEST_F(Prepare, ContextTooShortForEveryExampleIsRefused) {
  recipe_.model.context = 8;
  EXPECT_NE(error().find("no example fits model.context = 8 (the shortest takes"), std::string::npos)
      << error();
}

TEST_F(Prepare, LongExamplesAreDroppedAndCounted) {
  recipe_.model.context = 64;
  run();
  const auto splits = manifest().at("languages").at("sw").at("splits");
  int64_t documents = 0, dropped = 0;
  for (const auto& split : splits) {
    documents += split.at("documents").get<int64_t>();
    dropped += split.at("dropped").get<int64_t>();
  }
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(documents + dropped, 300);
}

TEST_F(Prepare, UnknownLanguageIsRefusedWithTheNearest) {
  recipe_.data.languages = {"swa"};
  EXPECT_NE(error().find("no segments in swa (did you mean \"sw\"?)"), std::string::npos) << error();
}

TEST_F(Prepare, ChosenLanguagesOnly) {
  recipe_.data.languages = {"sw"};
  run();
  EXPECT_EQ(manifest().at("languages").size(), 1u);
}

TEST_F(Prepare, PretrainKeepsAllText) {
  recipe_.data.kind = DataKind::kPretrain;
  recipe_.model.context = 16;
  run();
  int64_t bytes = 0, expected = 0;
  for (const std::string split : {"train", "valid", "test"})
    bytes += Shard(folder() / split / "sw.gettext.h5").loss_bytes();
  for (const Segment& segment : small_segments("sw", 300))
    expected += static_cast<int64_t>(segment.text.size());
  EXPECT_EQ(bytes, expected);
}

}  // namespace
}  // namespace fern
