#include "framework/train/topology.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "framework/model/transformer.h"
#include "framework/train/initial_patterns.h"
#include "framework/train/solo_reducer.h"
#include "tests/framework/sparsity/value_origins.h"

namespace fern {
namespace {

const ModelConfig kConfig = {
    .vocabulary = 40, .layers = 1, .hidden = 32, .heads = 2, .kv_heads = 1, .ffn = 64, .context = 8};

SparsityConfig set_with_full_attention() {
  SparsityConfig config;
  config.method = SparsityMethod::kSet;
  config.sparsity = 0.8;
  config.interval = 10;
  config.layer_names = {"self_attn"};
  config.layer_sparsities = {0};
  return config;
}

TEST(Topology, ARunThatHasAllItsWeightsStaysDenseThroughAnUpdate) {
  Transformer model(kConfig);
  Parameters& parameters = model.parameters();
  std::unique_ptr<Method> method = make_method(set_with_full_attention(), parameters, 100, 1);
  set_initial_patterns(parameters, *method);
  const std::vector<SparseRun> before = parameters.sparse_runs();
  ASSERT_FALSE(before.empty());
  const Arena arena = sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
  parameters.initialize(1);
  Arena more("more", size_t{1} << 22);
  SoloReducer reducer(parameters, 2, more);
  AdamW optimizer({}, parameters, {0, parameters.padded_elements()}, more);
  Topology topology(std::move(method), parameters, more);
  const auto update = topology.update_after(10, optimizer, reducer, 9);
  ASSERT_TRUE(update.has_value());
  ASSERT_EQ(parameters.sparse_runs().size(), before.size());
  int64_t grown = 0;
  for (size_t i = 0; i < before.size(); ++i)
    grown += std::ranges::count(
        testing::value_origins(parameters.sparse_runs()[i].pattern, before[i].pattern), -1);
  EXPECT_GT(grown, 0);
  EXPECT_EQ(update->counts.grown, grown);
  EXPECT_EQ(update->counts.dropped, grown);
}

}  // namespace
}  // namespace fern
