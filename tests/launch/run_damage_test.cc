// What a run does with damaged files, foreign files and disks that are full.
#include <fstream>

#include "framework/core/hdf5_file.h"
#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// Gives a file back its bytes when the test ends.
class Restored {
 public:
  explicit Restored(fs::path path) : path_(std::move(path)), bytes_(text_of(path_)) {}
  ~Restored() { write(bytes_); }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;
  const std::string& bytes() const { return bytes_; }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

 private:
  fs::path path_;
  std::string bytes_;
};

class DamagedRun : public Run {};

TEST_F(DamagedRun, DamagedDataIsRefusedByName) {
  const fs::path shard = fs::directory_iterator(folder_ / "prepared" / "train")->path();
  const Restored original(shard);
  original.write(original.bytes().substr(0, original.bytes().size() / 2));
  const Outcome truncated = run_fern(train("truncated"));
  EXPECT_EQ(truncated.exit_code, 1);
  EXPECT_TRUE(has(truncated.err, shard.filename().string())) << truncated.err;
  fs::remove(shard);
  const Outcome gone = run_fern(train("gone"));
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_TRUE(has(gone.err, shard.filename().string()) && has(gone.err, "fern prepare")) << gone.err;
}

TEST_F(DamagedRun, AFlippedBitInATokenIsRefusedBeforeTheFirstStep) {
  const fs::path shard = fs::directory_iterator(folder_ / "prepared" / "train")->path();
  const Restored original(shard);
  const size_t at = Hdf5File::open(shard).dataset("tokens").offset_bytes + 4 * 100;
  std::string damaged = original.bytes();
  damaged[at] ^= 1;
  original.write(damaged);
  for (const int ranks : {1, 2}) {
    const std::string run = "flipped" + std::to_string(ranks);
    const Outcome outcome = run_fern_on(ranks, train(run));
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_TRUE(has(outcome.err, shard.filename().string()) && has(outcome.err, "tokens")) << outcome.err;
    EXPECT_FALSE(fs::exists(folder_ / run / "checkpoints"));
  }
  EXPECT_EQ(run_fern({"evaluate", path("whole")}).exit_code, 1);
}

TEST_F(DamagedRun, AShardThatPrepareDidNotListIsRefused) {
  const fs::path shard = fs::directory_iterator(folder_ / "prepared" / "train")->path();
  const fs::path copy = shard.parent_path() / "more.h5";
  fs::copy_file(shard, copy);
  const Outcome outcome = run_fern(train("more"));
  fs::remove(copy);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(has(outcome.err, "more.h5") && has(outcome.err, "does not list")) << outcome.err;
}

TEST_F(DamagedRun, ARefusedContinuationLeavesTheRecipeAlone) {
  const std::string before = text_of(folder_ / "whole" / "recipe.toml");
  ASSERT_EQ(run_fern({"prepare", path("recipe.toml"), "--set", "tokenizer.character_coverage=0.98", "--set",
                      "data.folder=" + path("elsewhere")})
                .exit_code,
            0);
  const Outcome outcome = run_fern(train(
      "whole", {"--set", "data.folder=" + path("elsewhere"), "--set", "tokenizer.character_coverage=0.98"}));
  EXPECT_NE(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(text_of(folder_ / "whole" / "recipe.toml"), before);
  EXPECT_EQ(run_fern({"evaluate", path("whole")}).exit_code, 0);
}

TEST_F(DamagedRun, DataThatIsNotPreparedSaysWhatToRun) {
  const Outcome missing = run_fern(train("missing", {"--set", "data.folder=" + path("nowhere")}));
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_TRUE(has(missing.err, "fern prepare")) << missing.err;
}

TEST_F(DamagedRun, DataOfOtherLanguagesThanTheRecipeNamesIsRefused) {
  const Outcome outcome = run_fern(train("other_languages", {"--set", "data.languages=[\"sw\"]"}));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "languages = []") && has(outcome.err, "fern prepare")) << outcome.err;
  EXPECT_FALSE(fs::exists(folder_ / "other_languages"));
}

TEST_F(DamagedRun, AFullStandardOutputFails) {
  for (const char* command : {"inspect", "evaluate"}) {
    const std::vector<std::string> words = {"sh", "-c", "exec \"$0\" \"$@\" >/dev/full"};
    std::vector<std::string> all = words;
    for (const std::string& word : fern_command({command, path("whole")})) all.push_back(word);
    const Outcome outcome = Program(all).wait();
    EXPECT_EQ(outcome.exit_code, 1) << command;
    EXPECT_NE(outcome.err, "") << command;
  }
}

TEST_F(DamagedRun, ShardsOfAnotherTokenizerAreRefused) {
  ASSERT_EQ(run_fern({"prepare", path("recipe.toml"), "--set", "tokenizer.vocabulary=400", "--set",
                      "data.folder=" + path("other_prepared")})
                .exit_code,
            0);
  const Restored original(folder_ / "prepared" / "tokenizer.model");
  original.write(text_of(folder_ / "other_prepared" / "tokenizer.model"));
  const Outcome outcome = run_fern(train("other_tokenizer"));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(has(outcome.err, "made with the tokenizer") && has(outcome.err, "fern prepare")) << outcome.err;
}

TEST_F(DamagedRun, AFullDiskFailsAndKeepsTheCheckpointBefore) {
  ASSERT_EQ(run_fern(train("full")).exit_code, 0);
  while (checkpoints("full").size() > 1) fs::remove_all(checkpoints("full").back());
  const std::string before = weights_hash(checkpoints("full").back());
  // Room for the logs, but not for the weights.
  std::vector<std::string> limited = {"sh", "-c", "ulimit -f 128; exec \"$@\"", "sh"};
  for (const std::string& word : fern_command(train("full"))) limited.push_back(word);
  const Outcome outcome = Program(limited).wait();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(has(outcome.err, "step 40: the checkpoint could not be saved")) << outcome.err;
  ASSERT_EQ(checkpoints("full").size(), 1u) << "a half-written checkpoint was left behind";
  EXPECT_EQ(weights_hash(checkpoints("full").back()), before);
  ASSERT_EQ(run_fern(train("full")).exit_code, 0);
  EXPECT_EQ(weights_hash(checkpoints("full").back()), weights_hash(checkpoints("whole").back()));
}

TEST_F(DamagedRun, DamagedCheckpointIsNamedAndTheOneBeforeUsed) {
  ASSERT_EQ(run_fern(train("damaged")).exit_code, 0);
  const fs::path newest = checkpoints("damaged").back(), weights = newest / "weights.h5";
  std::string bytes = text_of(weights);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(weights, std::ios::binary) << bytes;
  const Outcome outcome = run_fern(train("damaged"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, newest.filename().string())) << outcome.err;
  expect_equals_whole("damaged");
}

TEST_F(DamagedRun, WeightsThatAreNotNumbersAreNeitherExportedNorTurnedIntoText) {
  ASSERT_EQ(run_fern({"export", path("whole"), "--out", path("broken")}).exit_code, 0);
  const fs::path weights = folder_ / "broken" / "model.safetensors";
  std::string bytes = text_of(weights);
  bytes.replace(bytes.size() - 4, 4, "\xff\xff\xff\xff");  // the last element of the last tensor
  std::ofstream(weights, std::ios::binary) << bytes;
  ASSERT_EQ(run_fern({"import", path("broken"), "--out", path("nan")}).exit_code, 0);
  const std::string checkpoint = path("nan/step-000000");
  const Outcome exported = run_fern({"export", checkpoint, "--out", path("nan_export")});
  EXPECT_EQ(exported.exit_code, 1);
  EXPECT_TRUE(has(exported.err, "not finite")) << exported.err;
  const Outcome generated = run_fern({"generate", checkpoint, "--prompt", "open file"});
  EXPECT_EQ(generated.exit_code, 1);
  EXPECT_TRUE(has(generated.err, "not numbers")) << generated.err;
  const Outcome evaluated = run_fern({"evaluate", checkpoint, "--data", path("prepared")});
  EXPECT_EQ(evaluated.exit_code, 1);
  EXPECT_TRUE(has(evaluated.err, "not finite")) << evaluated.err;
}

TEST_F(DamagedRun, AnotherModelInARunFolderIsRefusedByName) {
  const Outcome outcome = run_fern(train("whole", {"--set", "model.layers=3"}));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "model.layers")) << outcome.err;
}

TEST_F(DamagedRun, OutputFolderThatCannotBeMadeIsNamed) {
  std::ofstream(path("file")) << "in the way";
  const Outcome outcome = run_fern(train("file/run"));
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_TRUE(has(outcome.err, path("file"))) << outcome.err;
}

}  // namespace
}  // namespace fern
