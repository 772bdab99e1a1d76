#include <sys/wait.h>
#include <csignal>

#include "tests/framework/checkpoint/fixture.h"
#include "tests/support/file_size_limit.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

void expect_intact(const fs::path& folder, const std::string& newest) {
  const auto found = newest_valid_checkpoint(folder, [](const fs::path& path, const std::string& reason) {
    ADD_FAILURE() << path << ": " << reason;
  });
  EXPECT_EQ(found, folder / newest);
}

TEST(SaveCheckpoint, AFullDiskLeavesEarlierCheckpointsAndNothingElse) {
  const fs::path folder = fresh_folder("full");
  SmallModel model;
  model.fill(1);
  save_checkpoint(folder, model.contents(1));
  const auto largest = fs::file_size(folder / "step-000001" / "optimizer.h5");
  for (const rlim_t limit : {rlim_t{0}, rlim_t{100}, rlim_t{5000}, rlim_t{20000}, largest - 1}) {
    {
      const FileSizeLimit full(limit);
      EXPECT_THROW(save_checkpoint(folder, model.contents(2)), Error) << limit;
    }
    EXPECT_EQ(names_in(folder), std::vector<std::string>{"step-000001"}) << limit;
    expect_intact(folder, "step-000001");
  }
  save_checkpoint(folder, model.contents(2));
  expect_intact(folder, "step-000002");
}

TEST(SaveCheckpoint, AFolderThatCannotBeMadeIsNamed) {
  const fs::path folder = fresh_folder("unwritable");
  write_bytes(folder / "file", "");
  SmallModel model;
  const std::string error =
      error_of([&] { save_checkpoint(folder / "file" / "checkpoints", model.contents(1)); });
  EXPECT_NE(error.find((folder / "file" / "checkpoints").string()), std::string::npos) << error;
}

TEST(SaveCheckpoint, AMissingTokenizerIsNamedAndNothingIsLeft) {
  const fs::path folder = fresh_folder("no-tokenizer");
  SmallModel model;
  CheckpointContents contents = model.contents(1);
  contents.tokenizer_model = folder / "nowhere.model";
  EXPECT_NE(error_of([&] { save_checkpoint(folder, contents); }).find("nowhere.model"), std::string::npos);
  EXPECT_TRUE(names_in(folder).empty());
}

TEST(SaveCheckpoint, TheSameStepAgainReplacesIt) {
  const fs::path folder = fresh_folder("again");
  SmallModel model;
  save_checkpoint(folder, model.contents(4));
  model.fill(9);
  save_checkpoint(folder, model.contents(4));
  EXPECT_EQ(names_in(folder), std::vector<std::string>{"step-000004"});
  EXPECT_EQ(read_manifest(folder / "step-000004").weights_hash, weights_hash(model.parameters));
  expect_intact(folder, "step-000004");
}

TEST(PruneCheckpoints, KeepsTheNewestAndRemovesLeftOvers) {
  const fs::path folder = fresh_folder("prune");
  SmallModel model;
  for (const int64_t step : {1, 2, 30, 400}) save_checkpoint(folder, model.contents(step));
  fs::create_directories(folder / ".step-000500.tmp" / "inner");
  write_bytes(folder / "notes.txt", "mine");
  fs::create_directories(folder / "step-by-step");
  prune_checkpoints(folder, 0);
  EXPECT_EQ(names_in(folder).size(), 6u);
  prune_checkpoints(folder, 2);
  EXPECT_EQ(names_in(folder),
            (std::vector<std::string>{"notes.txt", "step-000030", "step-000400", "step-by-step"}));
}

// Saves and prunes without end; step n holds the values of fill(n % 5).
[[noreturn]] void save_for_ever(const fs::path& folder, int64_t first_step) {
  std::vector<SmallModel> models(5);
  for (size_t i = 0; i < models.size(); ++i) models[i].fill(i);
  for (int64_t step = first_step;; ++step) {
    save_checkpoint(folder, models[static_cast<size_t>(step % 5)].contents(step));
    prune_checkpoints(folder, 2);
  }
}

TEST(SaveCheckpoint, KillAtAnyMomentLeavesTheNewestValid) {
  const fs::path folder = fresh_folder("kill");
  SmallModel first;
  save_checkpoint(folder, first.contents(1));
  int64_t newest_step = 1;
  for (uint64_t round = 0; round < 10; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) save_for_ever(folder, newest_step + 1);
    const std::string newest_name = fmt::format("step-{:06}", newest_step);
    while (names_in(folder).back() <= newest_name) ::usleep(1000);  // has saved once at least
    ::usleep(static_cast<useconds_t>(random_below(200000, 7, Purpose::kTest, round)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto newest = newest_valid_checkpoint(folder, [](const fs::path& path, const std::string& reason) {
      ADD_FAILURE() << path << ": " << reason;
    });
    ASSERT_TRUE(newest.has_value());
    newest_step = read_manifest(*newest).step;
  }
  EXPECT_GE(newest_step, 11);
  prune_checkpoints(folder, 1);
  EXPECT_EQ(names_in(folder), std::vector<std::string>{fmt::format("step-{:06}", newest_step)});
}

}  // namespace
}  // namespace fern
