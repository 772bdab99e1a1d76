// Balance of experts across steps, processes' cuts and stops.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "framework/checkpoint/expert_file.h"
#include "framework/train/expert_balance.h"
#include "framework/train/expert_training.h"
#include "tests/framework/train/tiny_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using testing_data::error_of;
using testing_data::fresh_folder;
using testing_data::mentions;

ModelConfig with_experts() {
  ModelConfig model = tiny_model();
  model.layers = 2;
  model.experts = {
      .count = 4, .active = 2, .ffn = 16, .balance_loss = 0.1, .z_loss = 0.01, .bias_rate = 0.01};
  return model;
}

TinyOptions options(int64_t steps = 6) {
  TinyOptions options;
  options.train = {.steps = steps, .reduction_shards = 2, .max_skipped = 3};
  options.train.experts.log_every = 4;
  options.model = with_experts();
  return options;
}

// Counts of one layer and language.
RoutingCounts counts_of(const std::vector<double>& chosen) {
  RoutingCounts counts(1, std::ssize(chosen), 1);
  std::ranges::copy(chosen, counts.all().begin());
  return counts;
}

TEST(ExpertBalance, SharesAreThoseOfTheStepBefore) {
  ModelConfig model = with_experts();
  model.experts.every = 2;
  RoutingState state(model);
  for (const double share : state.share_E(0)) EXPECT_EQ(share, 0.25);
  balance_experts(state, counts_of({6, 0, 1, 3}), 0);
  EXPECT_TRUE(std::ranges::equal(state.share_E(0), std::vector<double>{0.6, 0, 0.1, 0.3}));
  for (const double bias : state.bias_E(0)) EXPECT_EQ(bias, 0);
  balance_experts(state, counts_of({0, 0, 0, 0}), 0);
  EXPECT_EQ(state.share_E(0)[0], 0.6) << "a step without tokens says nothing";
}

TEST(ExpertBalance, BiasesMoveTowardsAnEvenLoad) {
  ModelConfig model = with_experts();
  model.experts.every = 2;
  RoutingState state(model);
  balance_experts(state, counts_of({5, 1, 3, 3}), 0.01);
  EXPECT_TRUE(std::ranges::equal(state.bias_E(0), std::vector<double>{-0.01, 0.01, 0, 0}));
}

// Highest over mean load in the last interval.
double unevenness(const TinyRun& run) {
  const ExpertMetrics* last = nullptr;
  for (const StepMetrics& step : run.metrics)
    if (step.experts) last = &*step.experts;
  double most = 0;
  for (const LayerUse& layer : last->layers) most = std::max(most, layer.all.max_over_mean);
  return most;
}

TEST(ExpertBalance, LossAndBiasEachEvenTheLoad) {
  const auto after = [](double loss, double bias) {
    TinyOptions given = options(40);
    given.model.experts.balance_loss = loss;
    given.model.experts.bias_rate = bias;
    given.model.experts.z_loss = 0;
    TinyRun run(fresh_folder("even"), given);
    // A router that prefers one expert.
    const int router = run.model.parameters().find("model.layers.1.block_sparse_moe.gate.weight");
    for (float& weight : run.model.parameters().value(router).values<float>()) weight *= 20;
    run.model.parameters().note_change();
    run.run();
    return unevenness(run);
  };
  const double alone = after(0, 0);
  EXPECT_LT(after(0.5, 0), alone);
  EXPECT_LT(after(0, 0.02), alone);
}

TEST(ExpertBalance, LossesAreThoseOfTheBatchHoweverItIsCut) {
  const auto run_of = [](int64_t micro_sequences, int64_t shards, bool recompute) {
    TinyOptions given = options(8);
    given.micro_sequences = micro_sequences;
    given.train.reduction_shards = shards;
    given.model.recompute = recompute;
    TinyRun run(fresh_folder("cut"), given);
    run.run();
    return run.metrics;
  };
  const std::vector<StepMetrics> expected = run_of(2, 2, false);
  EXPECT_NEAR(expected[0].routers->balance, 0.1 * 2, 1e-6) << "even shares at first";
  EXPECT_GT(std::abs(expected[1].routers->balance - 0.1 * 2), 1e-5);
  for (const auto& [micro, shards, recompute] :
       {std::tuple{1, 2, false}, {6, 2, false}, {12, 1, false}, {2, 6, false}, {2, 2, true}}) {
    const std::vector<StepMetrics> got = run_of(micro, shards, recompute);
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(got[i].loss, expected[i].loss, 1e-6 * expected[i].loss) << "step " << i + 1;
      EXPECT_NEAR(got[i].routers->balance, expected[i].routers->balance, 1e-6) << "step " << i + 1;
      EXPECT_NEAR(got[i].routers->z, expected[i].routers->z, 1e-6) << "step " << i + 1;
    }
  }
}

TEST(ExpertBalance, StopAndResumeEqualsNotStopping) {
  const fs::path whole_folder = fresh_folder("whole_experts"), parts_folder = fresh_folder("parts_experts");
  TinyOptions given = options(9);
  given.train.experts.correct_collapse = true;
  TinyRun whole(whole_folder, given);
  whole.run();
  TinyRun first(parts_folder, given);
  EXPECT_EQ(first.run(3), Trainer::Outcome::kStopped);
  TinyRun second(parts_folder, given);
  second.trainer->resume(parts_folder / "step-000003");
  second.run();
  const Manifest a = read_manifest(whole_folder / "step-000009"),
                 b = read_manifest(parts_folder / "step-000009");
  EXPECT_EQ(a.weights_hash, b.weights_hash);
  EXPECT_EQ(read_experts(whole_folder / "step-000009", a), read_experts(parts_folder / "step-000009", b));
  for (size_t i = 0; i < second.metrics.size(); ++i) {
    EXPECT_EQ(whole.metrics[i + 3].loss, second.metrics[i].loss);
    EXPECT_EQ(whole.metrics[i + 3].routers->balance, second.metrics[i].routers->balance);
  }
  // The interval that the stop fell into.
  ASSERT_TRUE(whole.metrics[3].experts && second.metrics[0].experts);
  EXPECT_EQ(second.metrics[0].experts->steps, 4);
  EXPECT_EQ(whole.metrics[3].experts->layers[1].all.chosen_E,
            second.metrics[0].experts->layers[1].all.chosen_E);
}

TEST(ExpertBalance, AStepThatIsNotAppliedLeavesItAlone) {
  TinyRun run(fresh_folder("not_applied"), options(4));
  run.gradients->poisoned_steps = {2, 3};
  std::vector<double> after_first, after_third;
  int64_t counted_steps = 0;
  const std::atomic<bool> stop = false;
  run.trainer->run(stop, [&](const StepMetrics& step) {
    if (step.step == 1) after_first = run.model.routing().memory().share;
    if (step.step == 3) after_third = run.model.routing().memory().share;
    if (step.step == 4) counted_steps = step.experts->steps;
  });
  EXPECT_EQ(counted_steps, 2);
  EXPECT_EQ(after_first, after_third);
}

TEST(ExpertBalance, ACheckpointOfOtherExpertsIsRefused) {
  const fs::path folder = fresh_folder("other_experts");
  TinyRun saved(folder, options(1));
  saved.run();
  TinyOptions other = options(2);
  other.model.experts.count = 5;
  TinyRun run(folder, other);
  EXPECT_TRUE(mentions(error_of([&] { run.trainer->resume(folder / "step-000001"); }), {"experts"}));
}

TEST(ExpertMetrics, CountTheBatchOfEachLanguage) {
  TinyRun run(fresh_folder("counts"), options(4));
  run.run();
  ASSERT_TRUE(run.metrics[3].experts);
  std::vector<double> tokens(3);
  for (int64_t step = 0; step < 4; ++step) {
    const auto counts = run.loader.counts(step);
    for (size_t l = 0; l < 3; ++l) tokens[l] += static_cast<double>(counts[l].tokens);
  }
  for (const LayerUse& layer : run.metrics[3].experts->layers) {
    for (size_t l = 0; l < 3; ++l) {
      const ExpertUse& use = layer.languages[l];
      EXPECT_EQ(use.tokens, tokens[l]);
      EXPECT_EQ(std::accumulate(use.chosen_E.begin(), use.chosen_E.end(), 0.0), 2 * tokens[l]);
      EXPECT_GT(use.entropy, 0);
      EXPECT_LE(use.entropy, std::log(4.0) + 1e-6);
      EXPECT_LE(use.effective, 4 + 1e-9);
    }
    EXPECT_EQ(layer.all.dropped_share, 0);
  }
}

TEST(ExpertMetrics, TheEffectiveNumberIsThatOfExpertsUsedEvenly) {
  EXPECT_NEAR(use_of({5, 5, 5, 5}, 10, 0, 0).effective, 4, 1e-12);
  EXPECT_NEAR(use_of({10, 10, 0, 0}, 10, 0, 0).effective, 2, 1e-12);
  EXPECT_EQ(use_of({30, 0, 0, 0}, 30, 6, 0).max_over_mean, 4);
  EXPECT_EQ(use_of({30, 0, 0, 0}, 30, 6, 0).dropped_share, 0.2);
  EXPECT_EQ(use_of({0, 0}, 0, 0, 0).effective, 0);
}

}  // namespace
}  // namespace fern
