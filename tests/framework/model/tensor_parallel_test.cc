// A model whose matrices several ranks share, against the whole one.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <mutex>

#include "framework/model/whole_matrix.h"
#include "tests/framework/model/test_model.h"
#include "tests/framework/model/thread_axis.h"

namespace fern {
namespace {

// Neither the vocabulary nor the inner size nor the tokens divide by 2 or 4.
const ModelConfig kUneven = {.vocabulary = 53,
                             .layers = 2,
                             .hidden = 32,
                             .heads = 8,
                             .kv_heads = 4,
                             .ffn = 45,
                             .context = 29,
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
  std::vector<std::vector<double>> gradients;  // of whole matrices
};

std::vector<double> taken(const std::vector<double>& whole, const Parameter& parameter) {
  std::vector<double> share(static_cast<size_t>(parameter.elements()));
  for_each_stretch(parameter, [&](int64_t here, int64_t there, int64_t count) {
    std::copy_n(whole.begin() + there, count, share.begin() + here);
  });
  return share;
}

Outcome outcome_of(TestModel& test, const MicroBatch& batch) {
  Outcome outcome;
  test.prepare(std::ssize(batch.input_T));
  fill_zero(test.model.parameters().gradients());
  outcome.loss = test.forward(batch);
  test.model.backward(*test.activations, batch, test.sink, test.stream);
  const Parameters& parameters = test.model.parameters();
  for (size_t i = 0; i < parameters.list().size(); ++i)
    outcome.gradients.push_back(to_doubles(parameters.gradient(static_cast<int>(i))));
  return outcome;
}

class TensorParallel : public testing::TestWithParam<Variant> {};

TEST_P(TensorParallel, LossAndEveryGradientAreThoseOfTheWhole) {
  ModelConfig config = kUneven;
  GetParam().change(config);
  const MicroBatch batch = random_batch(config.vocabulary, 3, config.context, 7);
  TestModel whole(config);
  const Outcome expected = outcome_of(whole, batch);
  const Parameters& all = whole.model.parameters();
  std::mutex mutex;
  std::vector<std::vector<int>> seen(all.list().size());  // how often each value was somewhere
  for (size_t i = 0; i < seen.size(); ++i) seen[i].resize(expected.gradients[i].size());
  on_threads(GetParam().ranks, [&](TensorAxis& axis) {
    omp_set_num_threads(1);
    TestModel share(config, 1, true, 1, &axis);
    const Parameters& parameters = share.model.parameters();
    for (int i = 0; i < static_cast<int>(all.list().size()); ++i) {
      const std::vector<double> values =
          taken(to_doubles(all.value(i)), parameters.list()[static_cast<size_t>(i)]);
      with_wide_type("test", parameters.values().dtype(), [&]<typename T>() {
        std::ranges::transform(values, parameters.value(i).as<T>(),
                               [](double v) { return static_cast<T>(v); });
      });
    }
    share.model.parameters().note_change();
    const Outcome outcome = outcome_of(share, batch);
    const std::lock_guard lock(mutex);
    EXPECT_NEAR(outcome.loss, expected.loss, GetParam().tolerance * expected.loss);
    for (size_t i = 0; i < seen.size(); ++i) {
      const Parameter& parameter = parameters.list()[i];
      const std::vector<double> of_whole = taken(expected.gradients[i], parameter);
      double squares = 0, squared_errors = 0;
      for (const double gradient : expected.gradients[i]) squares += gradient * gradient;
      for (size_t k = 0; k < of_whole.size(); ++k)
        squared_errors += std::pow(outcome.gradients[i][k] - of_whole[k], 2);
      ASSERT_GT(squares, 0) << parameter.name;
      EXPECT_LT(std::sqrt(squared_errors / squares), GetParam().tolerance)
          << parameter.name << " of rank " << axis.index();
      for_each_stretch(parameter, [&](int64_t, int64_t there, int64_t count) {
        for (int64_t k = there; k < there + count; ++k)
          seen[i][static_cast<size_t>(k)] += parameter.place.counted;
      });
    }
  });
  for (size_t i = 0; i < seen.size(); ++i)
    EXPECT_EQ(seen[i], std::vector<int>(seen[i].size(), 1)) << all.list()[i].name;
}

void add_experts(ModelConfig& config) {
  config.experts = {
      .count = 5, .active = 2, .ffn = 21, .shared = 1, .every = 2, .balance_loss = 0.01, .z_loss = 0.01};
}

INSTANTIATE_TEST_SUITE_P(
    Variants, TensorParallel,
    testing::Values(Variant{"Untied"}, Variant{"Tied", 2, [](ModelConfig& c) { c.tie_embeddings = true; }},
                    Variant{"FourRanks", 4},
                    Variant{"Recomputed", 2, [](ModelConfig& c) { c.recompute = true; }},
                    Variant{"AllKvHeads", 4, [](ModelConfig& c) { c.kv_heads = 8; }},
                    Variant{"Experts", 2, add_experts}, Variant{"ExpertsOfFourRanks", 4, add_experts},
                    Variant{"QkNorm", 2, [](ModelConfig& c) { c.qk_norm = true; }},
                    Variant{"QkNormOfFourRanks", 4,
                            [](ModelConfig& c) {
                              c.qk_norm = c.recompute = true;
                              c.dtype = DType::kF32;
                            },
                            1e-5},
                    Variant{"WideHeads", 4,
                            [](ModelConfig& c) {
                              c.qk_norm = true;
                              c.head_dim = 20;
                            }},
                    Variant{"F32", 2, [](ModelConfig& c) { c.dtype = DType::kF32; }, 1e-5},
                    Variant{"F32OfFourRanks", 4, [](ModelConfig& c) { c.dtype = DType::kF32; }, 1e-5},
                    Variant{"BF16", 2, [](ModelConfig& c) { c.dtype = DType::kBF16; }, 6e-2}),
    [](const auto& info) { return info.param.name; });

// Norms are held by all ranks: were their bits not the same, the ranks would drift apart.
TEST(TensorParallel, WhatAllRanksHoldHasTheSameBits) {
  ModelConfig config = kUneven;
  config.dtype = DType::kF32;
  config.qk_norm = true;
  add_experts(config);
  const MicroBatch batch = random_batch(config.vocabulary, 3, config.context, 7);
  std::vector<Outcome> outcomes(4);
  std::vector<Parameter> list;
  on_threads(4, [&](TensorAxis& axis) {
    omp_set_num_threads(1);
    TestModel share(config, 1, true, 1, &axis);
    share.model.parameters().initialize(3);
    outcomes[static_cast<size_t>(axis.index())] = outcome_of(share, batch);
    if (axis.index() == 0) list = share.model.parameters().list();
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.loss, outcomes[0].loss);
    for (size_t i = 0; i < list.size(); ++i) {
      if (list[i].place.whole > 0) continue;
      EXPECT_EQ(outcome.gradients[i], outcomes[0].gradients[i]) << list[i].name;
    }
  }
}

TEST(TensorParallel, InitialValuesAreThoseOfTheWhole) {
  ModelConfig config = kUneven;
  config.dtype = DType::kF32;
  TestModel whole(config);
  whole.model.parameters().initialize(3);
  for (int64_t index = 0; index < 4; ++index) {
    LoneAxis axis(4, index);
    TestModel share(config, 1, false, 1, &axis);
    share.model.parameters().initialize(3);
    const Parameters& parameters = share.model.parameters();
    for (int i = 0; i < static_cast<int>(parameters.list().size()); ++i) {
      const Parameter& parameter = parameters.list()[static_cast<size_t>(i)];
      EXPECT_EQ(to_doubles(parameters.value(i)),
                taken(to_doubles(whole.model.parameters().value(i)), parameter))
          << parameter.name;
    }
  }
}

TEST(TensorParallel, RefusesSharesThatDoNotGoAndNamesThoseThatDo) {
  const auto refuse = [](ModelConfig config, int64_t ranks) -> std::string {
    LoneAxis axis(ranks, 0);
    try {
      const Transformer model(config, {}, &axis);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadUsage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(
      refuse(kUneven, 3),
      "parallel.tensor = 3: each rank has whole heads, so it must divide model.kv_heads = 4: 1, 2, 4; or "
      "set model.heads (now 8) and model.kv_heads to multiples of 3");
  ModelConfig few = kUneven;
  few.kv_heads = 2;
  EXPECT_EQ(
      refuse(few, 4),
      "parallel.tensor = 4: each rank has whole heads, so it must divide model.kv_heads = 2: 1, 2; or set "
      "model.kv_heads to one of 4, 8 (model.heads = 8)");
  ModelConfig narrow = kUneven;
  narrow.ffn = 3;
  EXPECT_NE(refuse(narrow, 4).find("parallel.tensor = 4: expected at most 3"), std::string::npos);
  EXPECT_EQ(refuse(kUneven, 4), "");
}

TEST(TensorParallel, AShareAloneDoesNotRun) {
  LoneAxis axis(2, 0);
  TestModel share(kUneven, 1, true, 1, &axis);
  share.prepare(58);
  EXPECT_THROW(share.forward(random_batch(kUneven.vocabulary, 2, 29, 7)), Error);
}

}  // namespace
}  // namespace fern
