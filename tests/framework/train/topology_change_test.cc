#include "framework/train/topology_change.h"

#include <gtest/gtest.h>

#include "framework/core/rng.h"
#include "framework/model/transformer.h"
#include "framework/train/solo_reducer.h"
#include "tests/framework/sparsity/random_pattern.h"
#include "tests/framework/sparsity/value_origins.h"

namespace fern {
namespace {

using testing::random_pattern;

const ModelConfig kConfig = {
    .vocabulary = 40, .layers = 2, .hidden = 32, .heads = 2, .kv_heads = 1, .ffn = 400, .context = 8};

std::vector<SparseRun> patterns(const Parameters& parameters, double density, uint64_t seed,
                                BlockShape block = {}) {
  std::vector<SparseRun> sparse;
  for (const ParameterRun run : parameters.runs()) {
    const Shape shape = parameters.shape_of(run);
    if (shape[0] != kConfig.vocabulary)
      sparse.push_back({run, random_pattern(shape[0], shape[1], block, density, seed + sparse.size())});
  }
  return sparse;
}

// A model with values and moments that tell where they are from.
struct Training {
  Transformer model{kConfig};
  Arena parameters_arena, optimizer_arena, reduction_arena;
  SoloReducer reducer;
  AdamW optimizer;

  explicit Training(std::vector<SparseRun> sparse)
      : parameters_arena(take(std::move(sparse))),
        optimizer_arena("optimizer", static_cast<size_t>(parameters().padded_elements()) * 8 + 256),
        reduction_arena("reduction", static_cast<size_t>(parameters().padded_elements()) * 16),
        reducer(parameters(), 2, reduction_arena),
        optimizer({}, parameters(), {0, parameters().padded_elements()}, optimizer_arena) {
    int64_t number = 1;
    for (const Tensor& buffer : {parameters().values(), optimizer.first_moment(), optimizer.second_moment()})
      for (int64_t i = 0; i < parameters().elements(); ++i)
        buffer.as<float>()[i] = static_cast<float>(number++);
  }
  Arena take(std::vector<SparseRun> sparse) {
    parameters().set_patterns(std::move(sparse));
    return sized_arena("parameters", [&](Arena& a) { parameters().allocate(a, DType::kF32); });
  }
  Parameters& parameters() { return model.parameters(); }
  void change(std::vector<SparseRun> next, int64_t updates) {
    change_topology(parameters(), optimizer, reducer, std::move(next), updates, true);
  }
};

// A buffer as dense matrices, absent weights NaN, so that places can be compared.
std::vector<float> spread(const Parameters& parameters, std::span<const float> flat) {
  std::vector<float> all;
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    std::vector<float> dense(static_cast<size_t>(parameter.shape.elements()), -1);
    if (parameter.sparse) {
      const Pattern pattern = parameters.pattern_of(static_cast<int>(i));
      int64_t value = parameter.offset;
      const BlockShape block = pattern.block();
      for (int64_t r = 0; r < pattern.block_rows(); ++r)
        for (const uint16_t c : pattern.row(r))
          for (int64_t e = 0; e < block.elements(); ++e)
            dense[static_cast<size_t>((r * block.rows + e / block.columns) * pattern.columns() +
                                      c * block.columns + e % block.columns)] =
                flat[static_cast<size_t>(value++)];
    } else {
      std::copy_n(flat.begin() + parameter.offset, parameter.elements(), dense.begin());
    }
    all.insert(all.end(), dense.begin(), dense.end());
  }
  return all;
}

void expect_kept_weights_keep(std::vector<SparseRun> from, std::vector<SparseRun> to) {
  Training training(std::move(from));
  Parameters& parameters = training.parameters();
  const auto buffers = [&] {
    return std::vector<Tensor>{parameters.values(), training.optimizer.first_moment(),
                               training.optimizer.second_moment()};
  };
  std::vector<std::vector<float>> before, after;
  for (const Tensor& buffer : buffers()) before.push_back(spread(parameters, buffer.values<float>()));
  training.change(std::move(to), 9);
  for (const Tensor& buffer : buffers()) after.push_back(spread(parameters, buffer.values<float>()));
  for (size_t b = 0; b < before.size(); ++b)
    for (size_t i = 0; i < before[b].size(); ++i) {
      if (after[b][i] >= 0 && before[b][i] >= 0) {
        ASSERT_EQ(after[b][i], before[b][i]) << i;
      } else if (after[b][i] >= 0) {
        ASSERT_EQ(after[b][i], 0.0F) << i;
      }
    }
  for (const Tensor& buffer : buffers()) {
    const std::span<float> values = buffer.values<float>();
    std::vector<float> padding(values.begin(), values.end());
    for (const Parameter& parameter : parameters.list())
      std::fill_n(padding.begin() + parameter.offset, parameter.elements(), 0.0F);
    ASSERT_EQ(padding, std::vector<float>(padding.size())) << "between the groups, or after them";
  }
}

TEST(TopologyChange, KeptWeightsKeepValuesAndMomentsAndGrownOnesStartAtZero) {
  const Transformer model(kConfig);
  std::vector<SparseRun> from = patterns(model.parameters(), 0.5, 1),
                         to = patterns(model.parameters(), 0.3, 7);
  expect_kept_weights_keep(std::move(from), std::move(to));
}

TEST(TopologyChange, ADenseModelCanBePruned) {
  const Transformer model(kConfig);
  expect_kept_weights_keep({}, patterns(model.parameters(), 0.3, 7));
}

TEST(TopologyChange, ADenseModelCanBePrunedToBlocks) {
  const Transformer model(kConfig);
  expect_kept_weights_keep({}, patterns(model.parameters(), 0.3, 7, {4, 4}));
}

TEST(TopologyChange, ARunWithoutAPatternStaysDenseBesidePrunedOnes) {
  const Transformer model(kConfig);
  std::vector<SparseRun> from = patterns(model.parameters(), 0.5, 1),
                         to = patterns(model.parameters(), 0.3, 7);
  from.erase(from.begin() + 1);
  to.erase(to.begin() + 1);
  expect_kept_weights_keep(std::move(from), std::move(to));
}

TEST(TopologyChange, GrownWeightsHaveAnAgeOfTheirOwn) {
  const Transformer model(kConfig);
  const std::vector<SparseRun> from = patterns(model.parameters(), 0.5, 1),
                               to = patterns(model.parameters(), 0.3, 7);
  Training training(from);
  training.change(to, 9);
  training.change(from, 12);
  const WeightAges& ages = training.optimizer.ages();
  EXPECT_EQ(ages.births, (std::vector<int64_t>{0, 9, 12}));
  const Parameters& parameters = training.parameters();
  std::vector<int64_t> now = testing::value_origins(from[0].pattern, to[0].pattern);  // -1: grown at 12
  const auto offset = static_cast<size_t>(parameters.list()[static_cast<size_t>(from[0].run.first)].offset);
  int64_t grown = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    EXPECT_EQ(ages.generation[offset + i] == 2, now[i] < 0);
    grown += now[i] < 0;
  }
  EXPECT_GT(grown, 0);
}

TEST(TopologyChange, PatternsThatOutgrowTheBuffersAreRefused) {
  const Transformer model(kConfig);
  Training training(patterns(model.parameters(), 0.001, 1));
  EXPECT_THROW(training.change(patterns(model.parameters(), 1.1, 1), 9), Error);
}

}  // namespace
}  // namespace fern
