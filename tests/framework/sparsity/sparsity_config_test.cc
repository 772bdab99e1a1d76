#include "framework/sparsity/sparsity_config.h"

#include "tests/framework/sparsity/expect_usage.h"

namespace fern::testing {
namespace {

SparsityConfig rigl() {
  SparsityConfig config;
  config.method = SparsityMethod::kRigl;
  config.sparsity = 0.9;
  return config;
}

// The message for `config` after `change`, in a run of 1000 steps.
template <typename Change>
void expect_refused(const Change& change, const std::string& part, int64_t steps = 1000) {
  SparsityConfig config = rigl();
  change(config);
  expect_usage([&] { validate(config, steps); }, part);
}

TEST(SparsityConfig, AcceptsWhatRunsUse) {
  EXPECT_NO_THROW(validate(rigl(), 1000));
  EXPECT_NO_THROW(validate({}, 1000));
  SparsityConfig n_of_m = rigl();
  n_of_m.pattern = PatternKind::kNm;
  n_of_m.sparsity = 0.5;
  EXPECT_NO_THROW(validate(n_of_m, 1000));
  n_of_m.sparsity = 0;
  EXPECT_NO_THROW(validate(n_of_m, 1000));
  EXPECT_EQ(n_of_m.target_sparsity(), 0.5);
}

TEST(SparsityConfig, RefusesSparsityOutsideItsRange) {
  for (const double sparsity : {1.0, -0.1, 1.5, std::numeric_limits<double>::quiet_NaN()})
    expect_refused([&](SparsityConfig& c) { c.sparsity = sparsity; }, "from 0 to below 1");
  expect_refused([](SparsityConfig& c) { c.sparsity = 1; }, "sparsity.sparsity = 1: ");
}

TEST(SparsityConfig, RefusesAnOnlyUpdateAfterTheLastStep) {
  expect_refused(
      [](SparsityConfig& c) {
        c.interval = 1000;
        c.stop = 1;
      },
      "got none; an interval of 999 does");
}

TEST(SparsityConfig, RefusesMoreThanMOfM) {
  expect_refused(
      [](SparsityConfig& c) {
        c.pattern = PatternKind::kNm;
        c.n = 5;
      },
      "sparsity.n = 5: expected 1 to 4 of every sparsity.m = 4 weights");
}

TEST(SparsityConfig, RefusesSparsityThatNAndMContradict) {
  expect_refused([](SparsityConfig& c) { c.pattern = PatternKind::kNm; },
                 "sparsity.sparsity = 0.9: expected 0.5, which 2 of every 4 weights means");
}

TEST(SparsityConfig, RefusesDropFractionsOfNothingAndAll) {
  for (const double fraction : {0.0, 1.0})
    expect_refused([&](SparsityConfig& c) { c.drop_fraction = fraction; },
                   "above 0 and below 1; 0.3 suits most runs");
}

TEST(SparsityConfig, RefusesIntervalsLongerThanTheRun) {
  expect_refused([](SparsityConfig& c) { c.interval = 2000; },
                 "sparsity.interval = 2000: expected an update within steps 0 to 750 (train.steps = 1000, "
                 "sparsity.stop = 0.75), got none; an interval of 750 does");
  expect_refused([](SparsityConfig& c) { c.interval = 2; }, "within steps 0 to 1.5 ", 2);
  expect_refused([](SparsityConfig& c) { c.interval = 2; }, "an interval of 1 does", 2);
  expect_refused([](SparsityConfig& c) { c.interval = 1; },
                 "no interval, but a larger train.steps or sparsity.stop does", 1);
  expect_refused([](SparsityConfig& c) { c.interval = 0; }, "expected 1 step or more");
}

TEST(SparsityConfig, RefusesGradualSchedulesWithoutAnUpdate) {
  expect_refused(
      [](SparsityConfig& c) {
        c.method = SparsityMethod::kGradual;
        c.begin = 0.11;
        c.end = 0.19;
      },
      "expected an update within steps 110 to 190");
  expect_refused(
      [](SparsityConfig& c) {
        c.method = SparsityMethod::kGradual;
        c.begin = 0.8;
      },
      "below sparsity.end = 0.75");
}

TEST(SparsityConfig, RefusesMoreScoringStepsThanTheIntervalHas) {
  expect_refused([](SparsityConfig& c) { c.scoring_steps = 101; },
                 "sparsity.scoring_steps = 101: expected 1 to 100");
}

TEST(SparsityConfig, RefusesPatternsThatAMethodCannotKeep) {
  expect_refused([](SparsityConfig& c) { c.method = SparsityMethod::kSrigl; },
                 "sparsity.pattern = \"unstructured\": expected \"fan_in\"");
  expect_refused([](SparsityConfig& c) { c.pattern = PatternKind::kButterfly; }, "expected \"static\"");
  expect_refused(
      [](SparsityConfig& c) {
        c.pattern = PatternKind::kFanIn;
        c.global = true;
      },
      "sparsity.global = true: expected false");
}

TEST(SparsityConfig, RefusesLayersOutsideTheirRange) {
  expect_refused(
      [](SparsityConfig& c) {
        c.layer_names = {"q_proj"};
        c.layer_sparsities = {1};
      },
      "sparsity.layers: q_proj = 1: ");
}

TEST(SparsityConfig, ChoosesWeightsByGroup) {
  SparsityConfig config = rigl();
  config.attention = false;
  EXPECT_FALSE(is_sparse(config, "model.layers.0.self_attn.q_proj.weight"));
  EXPECT_TRUE(is_sparse(config, "model.layers.0.mlp.up_proj.weight"));
  EXPECT_TRUE(is_sparse(config, "model.layers.0.block_sparse_moe.experts.3.w1.weight"));
  EXPECT_TRUE(is_sparse(config, "model.layers.0.block_sparse_moe.shared_expert.up_proj.weight"));
  EXPECT_FALSE(is_sparse(config, "model.layers.0.block_sparse_moe.gate.weight"));
  EXPECT_FALSE(is_sparse(config, "model.layers.0.input_layernorm.weight"));
  EXPECT_FALSE(is_sparse(config, "lm_head.weight"));
  config.head = true;
  EXPECT_TRUE(is_sparse(config, "lm_head.weight"));
}

TEST(SparsityConfig, PartsOfNamesAreWhole) {
  EXPECT_TRUE(has_part("model.layers.1.mlp", "layers.1"));
  EXPECT_FALSE(has_part("model.layers.10.mlp", "layers.1"));
  EXPECT_TRUE(has_part("model.layers.11.layers.1", "layers.1"));
}

TEST(SparsityConfig, EveryEnumHasItsNames) {
  EXPECT_EQ(name_of(SparsityMethod::kRandom), "random");
  EXPECT_EQ(name_of(PatternKind::kButterfly), "butterfly");
  EXPECT_EQ(kDistributionNames[static_cast<size_t>(Distribution::kErdosRenyiKernel)], "erdos_renyi_kernel");
  EXPECT_EQ(kDropDecayNames[static_cast<size_t>(DropDecay::kConstant)], "constant");
}

}  // namespace
}  // namespace fern::testing
