// A model whose sequences several ranks share, against the whole one.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <mutex>

#include "framework/data/context_share.h"
#include "tests/framework/model/test_model.h"
#include "tests/framework/model/thread_context.h"

namespace fern {
namespace {

const ModelConfig kModel = {.vocabulary = 53,
                            .layers = 3,
                            .hidden = 32,
                            .heads = 4,
                            .kv_heads = 2,
                            .ffn = 45,
                            .context = 48,
                            .tie_embeddings = false,
                            .dtype = DType::kF64};

struct Variant {
  std::string name;
  int64_t ranks = 2;
  std::function<void(ModelConfig&)> change = [](ModelConfig&) {};
  double tolerance = 1e-12;  // relative, of the loss and of each parameter's gradient as a vector
};

struct Outcome {
  double loss = 0;
  std::vector<double> sequence_losses;
  std::vector<std::vector<double>> gradients;
};

Outcome outcome_of(TestModel& test, const MicroBatch& batch) {
  Outcome outcome;
  outcome.sequence_losses.resize(static_cast<size_t>(batch.sequences));
  test.prepare(std::ssize(batch.input_T));
  fill_zero(test.model.parameters().gradients());
  outcome.loss = test.model.forward(*test.activations, outcome.sequence_losses, batch, test.stream);
  test.model.backward(*test.activations, batch, test.sink, test.stream);
  const Parameters& parameters = test.model.parameters();
  for (size_t i = 0; i < parameters.list().size(); ++i)
    outcome.gradients.push_back(to_doubles(parameters.gradient(static_cast<int>(i))));
  return outcome;
}

void add(std::vector<double>& sum, const std::vector<double>& values) {
  sum.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
}

// What ranks that share each sequence make together.
Outcome shared_outcome(const ModelConfig& config, int64_t ranks, const MicroBatch& whole) {
  std::vector<Outcome> outcomes(static_cast<size_t>(ranks));
  on_context_threads(ranks, [&](ContextAxis& axis) {
    omp_set_num_threads(1);
    TestModel share(config, 1, true, 1, nullptr, &axis);
    MicroBatch own;
    cut(own, whole, {.ranks = ranks, .rank = axis.index(), .context = whole.context});
    outcomes[static_cast<size_t>(axis.index())] = outcome_of(share, own);
  });
  Outcome all;
  for (const Outcome& outcome : outcomes) {
    all.loss += outcome.loss;
    add(all.sequence_losses, outcome.sequence_losses);
    all.gradients.resize(outcome.gradients.size());
    for (size_t i = 0; i < outcome.gradients.size(); ++i) add(all.gradients[i], outcome.gradients[i]);
  }
  return all;
}

class ContextParallel : public testing::TestWithParam<Variant> {};

TEST_P(ContextParallel, LossAndEveryGradientAddUpToThoseOfTheWhole) {
  ModelConfig config = kModel;
  GetParam().change(config);
  const MicroBatch batch = random_batch(config.vocabulary, 3, config.context, 7);
  TestModel whole(config);
  const Outcome expected = outcome_of(whole, batch),
                outcome = shared_outcome(config, GetParam().ranks, batch);
  EXPECT_NEAR(outcome.loss, expected.loss, GetParam().tolerance * expected.loss);
  for (size_t s = 0; s < expected.sequence_losses.size(); ++s)
    EXPECT_NEAR(outcome.sequence_losses[s], expected.sequence_losses[s],
                GetParam().tolerance * expected.sequence_losses[s]);
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    double squares = 0, squared_errors = 0;
    for (size_t k = 0; k < expected.gradients[i].size(); ++k) {
      squares += expected.gradients[i][k] * expected.gradients[i][k];
      squared_errors += std::pow(outcome.gradients[i][k] - expected.gradients[i][k], 2);
    }
    const std::string& name = whole.model.parameters().list()[i].name;
    ASSERT_GT(squares, 0) << name;
    EXPECT_LT(std::sqrt(squared_errors / squares), GetParam().tolerance) << name;
  }
}

void add_experts(ModelConfig& config) {
  config.experts = {
      .count = 5, .active = 2, .ffn = 21, .shared = 1, .every = 2, .balance_loss = 0.01, .z_loss = 0.01};
}

INSTANTIATE_TEST_SUITE_P(
    Variants, ContextParallel,
    testing::Values(Variant{"Untied"}, Variant{"Tied", 2, [](ModelConfig& c) { c.tie_embeddings = true; }},
                    Variant{"ThreeRanks", 3}, Variant{"FourRanks", 4}, Variant{"ChunksOfOne", 24},
                    Variant{"Recomputed", 3, [](ModelConfig& c) { c.recompute = true; }},
                    Variant{"Experts", 2, add_experts},
                    Variant{"QkNormWideHeads", 3,
                            [](ModelConfig& c) {
                              c.qk_norm = true;
                              c.head_dim = 12;
                            }},
                    Variant{"F32", 2, [](ModelConfig& c) { c.dtype = DType::kF32; }, 1e-5},
                    Variant{"F32OfFourRanks", 4, [](ModelConfig& c) { c.dtype = DType::kF32; }, 1e-5},
                    Variant{"BF16", 4, [](ModelConfig& c) { c.dtype = DType::kBF16; }, 6e-2}),
    [](const auto& info) { return info.param.name; });

// Merged in the order of the ring, whatever the threads do.
TEST(ContextParallel, TheSameBitsEveryTime) {
  ModelConfig config = kModel;
  config.dtype = DType::kF32;
  const MicroBatch batch = random_batch(config.vocabulary, 2, config.context, 7);
  const Outcome once = shared_outcome(config, 4, batch), again = shared_outcome(config, 4, batch);
  EXPECT_EQ(once.loss, again.loss);
  EXPECT_EQ(once.gradients, again.gradients);
}

// Half the sequence, half the activations.
TEST(ContextParallel, ActivationsAreShared) {
  ModelConfig config = kModel;
  config.context = 4096;
  const auto bytes = [&](int64_t ranks) {
    LoneContext axis(ranks, 0);
    Arena arena = Arena::measuring("activations");
    Transformer(config, {}, nullptr, &axis).allocate_activations(arena, config.context / ranks);
    return static_cast<double>(arena.used_bytes());
  };
  EXPECT_LT(bytes(2), 0.6 * bytes(1));
  EXPECT_LT(bytes(4), 0.35 * bytes(1));
}

TEST(ContextParallel, RefusesWhatDoesNotGoAndNamesWhatDoes) {
  const auto refuse = [](const ModelConfig& config, int64_t ranks) -> std::string {
    LoneContext axis(ranks, 0);
    try {
      const Transformer model(config, {}, nullptr, &axis);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadUsage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(
      refuse(kModel, 5),
      "parallel.context = 5: each rank has 2 of 10 equal chunks of a sequence, and 10 does not divide "
      "model.context = 48; set model.context = 40 or 50, or parallel.context to one of 1, 2, 3, 4, 6, 8, "
      "12, 24");
  EXPECT_NE(refuse(kModel, 30).find("set model.context = 60, or"), std::string::npos);
  EXPECT_EQ(refuse(kModel, 24), "");
  ModelConfig capped = kModel;
  add_experts(capped);
  EXPECT_EQ(refuse(capped, 2), "");
  capped.experts.capacity_factor = 1.5;
  EXPECT_NE(refuse(capped, 2).find("set model.experts.capacity_factor = 0"), std::string::npos);
}

TEST(ContextParallel, ARankAloneDoesNotRun) {
  LoneContext axis(2, 0);
  TestModel share(kModel, 1, true, 1, nullptr, &axis);
  share.prepare(48);
  MicroBatch own;
  cut(own, random_batch(kModel.vocabulary, 2, 48, 7), {.ranks = 2, .rank = 0, .context = 48});
  EXPECT_THROW(share.forward(own), Error);
}

}  // namespace
}  // namespace fern
