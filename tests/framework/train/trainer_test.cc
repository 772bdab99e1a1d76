#include "framework/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "framework/core/profile.h"
#include "tests/framework/train/tiny_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using testing_data::error_of;
using testing_data::fresh_folder;
using testing_data::mentions;

TEST(Trainer, LossFalls) {
  TinyRun run(fresh_folder("falls"), {.train = {.steps = 30, .reduction_shards = 3}});
  EXPECT_EQ(run.run(), Trainer::Outcome::kDone);
  ASSERT_EQ(run.metrics.size(), 30u);
  EXPECT_NEAR(run.metrics.front().loss, std::log(1000.0), 0.1);
  EXPECT_LT(run.metrics.back().loss, run.metrics.front().loss - 0.5);
}

TEST(Trainer, SaysWhatAStepDid) {
  TinyRun run(fresh_folder("says"));
  run.run();
  const StepMetrics& third = run.metrics[2];
  EXPECT_EQ(third.step, 3);
  EXPECT_EQ(third.learning_rate, run.schedule.at(2));
  int64_t tokens = 0, loss_tokens = 0;
  double weighted = 0;
  const auto counts = run.loader.counts(2);
  for (size_t l = 0; l < counts.size(); ++l) {
    tokens += counts[l].tokens;
    loss_tokens += counts[l].loss_tokens;
    if (counts[l].loss_tokens > 0)
      weighted += third.language_loss[l] * static_cast<double>(counts[l].loss_tokens);
  }
  EXPECT_EQ(third.tokens, tokens);
  EXPECT_EQ(third.loss_tokens, loss_tokens);
  EXPECT_NEAR(third.loss, weighted / static_cast<double>(loss_tokens), 1e-5);
  EXPECT_GT(third.forward_backward_s, 0);
  EXPECT_LE(third.data_s + third.forward_backward_s + third.reduce_s + third.optimizer_s, third.step_s);
}

TEST(Trainer, ProfilesItsPhasesWithoutTheFirstStep) {
  TinyRun run(fresh_folder("profiles"), {.train = {.steps = 4, .reduction_shards = 2}});
  Profile profile;
  run.trainer->set_profile(&profile);
  run.run();
  std::map<std::string_view, int64_t> calls;
  for (const Profile::Total& total : profile.totals()) calls[total.name] = total.calls;
  EXPECT_EQ(profile.steps(), 3);
  EXPECT_EQ(calls["step"], 3);
  EXPECT_EQ(calls["data"], 3 * run.loader.micro_batches());
  EXPECT_EQ(calls["optimizer"], 3);
  EXPECT_EQ(calls["adamw"], 3);
  EXPECT_EQ(calls["save"], 1);
  EXPECT_GT(calls["reduce"], 0);
}

TEST(Trainer, ClipsToTheGlobalNorm) {
  TinyRun run(fresh_folder("clips"), {.train = {.steps = 1, .clip_norm = 1e-3, .reduction_shards = 2}});
  run.run();
  EXPECT_GT(run.metrics[0].grad_norm, 1e-2);
  double squares = 0;
  for (const float m : run.optimizer->first_moment().values<float>()) squares += static_cast<double>(m * m);
  EXPECT_NEAR(std::sqrt(squares), (1 - AdamWConfig{}.beta1) * 1e-3, 1e-8);
}

TEST(Trainer, SavesAsOftenAsAskedAndKeepsSoMany) {
  const fs::path folder = fresh_folder("often");
  TinyRun run(folder, {.train = {.steps = 7, .reduction_shards = 2, .checkpoint_every = 2, .keep = 2}});
  run.run();
  EXPECT_FALSE(fs::exists(folder / "step-000004"));
  EXPECT_TRUE(fs::exists(folder / "step-000006"));
  EXPECT_EQ(read_manifest(folder / "step-000007").step, 7);
}

TEST(Trainer, StopAndResumeEqualsNotStopping) {
  const fs::path whole_folder = fresh_folder("whole"), parts_folder = fresh_folder("parts");
  TinyRun whole(whole_folder);
  EXPECT_EQ(whole.run(), Trainer::Outcome::kDone);

  TinyRun first(parts_folder);
  EXPECT_EQ(first.run(3), Trainer::Outcome::kStopped);
  EXPECT_EQ(first.trainer->step(), 3);
  TinyRun second(parts_folder);
  second.model.parameters().initialize(99);
  second.trainer->resume(parts_folder / "step-000003");
  EXPECT_EQ(second.trainer->step(), 3);
  EXPECT_EQ(second.run(), Trainer::Outcome::kDone);

  const Manifest a = read_manifest(whole_folder / "step-000006"),
                 b = read_manifest(parts_folder / "step-000006");
  EXPECT_EQ(a.weights_hash, b.weights_hash);
  EXPECT_EQ(a.optimizer_hash, b.optimizer_hash);
  EXPECT_EQ(a.updates, b.updates);
  EXPECT_EQ(load_ledger(whole_folder / "step-000006"), load_ledger(parts_folder / "step-000006"));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(whole.metrics[i + 3].loss, second.metrics[i].loss);
    EXPECT_EQ(whole.metrics[i + 3].grad_norm, second.metrics[i].grad_norm);
  }
}

TEST(Trainer, AStopAfterTheLastStepIsDone) {
  const fs::path folder = fresh_folder("stop-last");
  TinyRun run(folder);
  EXPECT_EQ(run.run(6), Trainer::Outcome::kDone);
  EXPECT_TRUE(fs::exists(folder / "step-000006"));
}

TEST(Trainer, SkipsAStepThatIsNotFinite) {
  TinyRun run(fresh_folder("skips"));
  run.gradients->poisoned_steps = {2, 4, 5};
  std::vector<float> before, after;
  const std::atomic<bool> stop = false;
  run.trainer->run(stop, [&](const StepMetrics& step) {
    if (step.step == 1) before = run.values();
    if (step.step == 2) after = run.values();
    EXPECT_EQ(step.skipped, run.gradients->poisoned_steps.contains(step.step));
  });
  EXPECT_EQ(before, after);
  EXPECT_EQ(run.trainer->skipped(), 3);
  EXPECT_EQ(run.ledger.steps(), 6);
}

TEST(Trainer, ASkippedStepIsNoUpdate) {
  const fs::path folder = fresh_folder("no-update");
  TinyRun run(folder);
  run.gradients->poisoned_steps = {2, 6};
  run.run();
  const Manifest manifest = read_manifest(folder / "step-000006");
  EXPECT_EQ(manifest.step, 6);
  EXPECT_EQ(manifest.updates, 4);
  EXPECT_EQ(manifest.skipped_in_a_row, 1);
}

TEST(Trainer, StopsAfterTooManySkippedAndNamesStepAndLanguages) {
  TinyRun run(fresh_folder("too-many"));
  run.gradients->poisoned_steps = {1, 3, 4, 5};
  const std::string error = error_of([&] { run.run(); });
  EXPECT_TRUE(mentions(error, {"step 5", "3 steps in a row"})) << error;
  const auto counts = run.loader.counts(4);
  const std::string named = error.substr(error.find("Languages"));
  for (size_t l = 0; l < counts.size(); ++l)
    EXPECT_EQ(counts[l].sequences > 0,
              named.find(run.loader.languages()[l].language().c_str()) != std::string::npos);
}

TEST(Trainer, SkippedStepsInARowAreCountedAcrossAResume) {
  const fs::path folder = fresh_folder("across");
  TinyRun first(folder);
  first.gradients->poisoned_steps = {2, 3};
  EXPECT_EQ(first.run(3), Trainer::Outcome::kStopped);
  TinyRun second(folder);
  second.trainer->resume(folder / "step-000003");
  EXPECT_EQ(second.trainer->skipped(), 2);
  second.gradients->poisoned_steps = {1};
  EXPECT_TRUE(mentions(error_of([&] { second.run(); }), {"step 4", "3 steps in a row"}));
}

TEST(Trainer, ACheckpointThatCannotBeSavedEndsTheRunAndSaysWhere) {
  const fs::path folder = fresh_folder("unsaved");
  testing_data::write_bytes(folder / "file", "");
  TinyRun run(folder / "file");
  EXPECT_TRUE(mentions(error_of([&] { run.run(); }), {"step 6", (folder / "file").string()}));
}

// The second question of a step (did the save fail?) is answered as another process would.
class FailedElsewhere final : public ScalarReducer {
 public:
  void sum(std::span<double>) override { questions_ = 0; }
  bool any(bool value) override { return value || ++questions_ == 2; }
  void barrier() override {}

 private:
  int questions_ = 0;
};

// Of a process that does not write: another asks for its tensors.
class AskedFor final : public CheckpointTensors {
 public:
  bool is_writer() const override { return false; }
  void begin(const Parameters&) override {}
  void finish() override { ++finished; }
  bool has_moments() const override { return true; }
  std::span<const float> get(TensorKind, int) override { return {}; }
  int finished = 0;
};

TEST(Trainer, HearsThatAnotherProcessCouldNotSave) {
  FailedElsewhere scalars;
  AskedFor tensors;
  TinyRun run(fresh_folder("elsewhere"), {.scalars = &scalars, .tensors = &tensors});
  try {
    run.run();
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPeerFailed);
    EXPECT_TRUE(mentions(error.what(), {"step 6"}));
  }
}

TEST(Trainer, RefusesACheckpointOfAnotherModelOrTokenizer) {
  const fs::path folder = fresh_folder("another");
  TinyRun saved(folder, {.train = {.steps = 1, .reduction_shards = 2}});
  saved.run();
  const fs::path checkpoint = folder / "step-000001";
  TinyOptions deeper;
  deeper.model.layers = 2;
  TinyRun other(folder, deeper);
  EXPECT_TRUE(mentions(error_of([&] { other.trainer->resume(checkpoint); }), {"layers 1 (here 2)", "--out"}));
  TinyRun retokenized(folder, {.tokenizer_sha256 = std::string(64, 'b')});
  EXPECT_TRUE(mentions(error_of([&] { retokenized.trainer->resume(checkpoint); }), {"tokenizer", "bbbb"}));
}

TEST(Trainer, RefusesShardsThatDoNotDivideTheMicroBatches) {
  EXPECT_TRUE(
      mentions(error_of([] { TinyRun run(fresh_folder("shards"), {.train = {.reduction_shards = 4}}); }),
               {"reduction_shards", "divisor of the 6", "got 4"}));
}

}  // namespace
}  // namespace fern
