#include "framework/train/upcycled_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "framework/sparsity/for_each_weight.h"
#include "tests/framework/model/test_model.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

const ModelConfig kDense = {.vocabulary = 50,
                            .layers = 2,
                            .hidden = 40,
                            .heads = 4,
                            .kv_heads = 2,
                            .ffn = 72,
                            .context = 33,
                            .tie_embeddings = false};

ModelConfig with(const ExpertConfig& experts) {
  ModelConfig config = kDense;
  config.experts = experts;
  return config;
}

double loss_of(TestModel& model) {
  model.prepare(99);
  return model.forward(random_batch(kDense.vocabulary, 3, 33, 5));
}

// By how much the first loss differs from the dense model's, as a share of it.
double difference(const ExpertConfig& experts) {
  TestModel dense(kDense), upcycled(with(experts), /*seed=*/100);
  upcycle(upcycled.model.parameters(), dense.model.parameters());
  const double loss = loss_of(dense);
  return std::abs(loss_of(upcycled) - loss) / loss;
}

TEST(UpcycledModel, BeginsWithTheLossOfTheDenseOne) {
  EXPECT_LT(difference({.count = 4, .active = 2}), 1e-6);
  EXPECT_LT(difference({.count = 8, .active = 3, .ffn = 72}), 1e-6);
  EXPECT_LT(difference({.count = 4, .active = 2, .every = 2}), 1e-6);
  EXPECT_LT(difference({.count = 3, .active = 3, .router = RouterKind::kSwitch}), 1e-6);
  EXPECT_LT(difference({.count = 4, .active = 2, .capacity_factor = 2}), 1e-6);
}

TEST(UpcycledModel, BeginsElsewhereWhereItSaysSo) {
  const ExpertConfig unweighed = {.count = 4, .active = 2, .router = RouterKind::kSwitch},
                     dropping = {.count = 4, .active = 2, .capacity_factor = 0.5};
  EXPECT_GT(difference(unweighed), 1e-3);
  EXPECT_GT(difference(dropping), 1e-3);
  EXPECT_NE(why_less_than_dense(with(unweighed)).find("model.experts.router"), std::string::npos);
  EXPECT_NE(why_less_than_dense(with(dropping)).find("model.experts.capacity_factor"), std::string::npos);
  EXPECT_EQ(why_less_than_dense(with({.count = 4, .active = 2, .capacity_factor = 2})), "");
  EXPECT_EQ(why_less_than_dense(with({.count = 3, .active = 3, .router = RouterKind::kSwitch})), "");
}

TEST(UpcycledModel, EachMatrixOfAnExpertHasItsOwnOfTheFeedForward) {
  EXPECT_EQ(dense_name("model.layers.7.block_sparse_moe.experts.11.w1.weight"),
            "model.layers.7.mlp.gate_proj.weight");
  EXPECT_EQ(dense_name("model.layers.7.block_sparse_moe.experts.11.w3.weight"),
            "model.layers.7.mlp.up_proj.weight");
  EXPECT_EQ(dense_name("model.layers.7.block_sparse_moe.experts.11.w2.weight"),
            "model.layers.7.mlp.down_proj.weight");
  for (const char* name : {"model.layers.7.block_sparse_moe.gate.weight", "model.layers.7.mlp.up_proj.weight",
                           "model.embed_tokens.weight"})
    EXPECT_EQ(dense_name(name), name);
}

TEST(UpcycledModel, RoutersKeepTheirInitialValues) {
  TestModel dense(kDense), upcycled(with({.count = 4, .active = 2}));
  Parameters& parameters = upcycled.model.parameters();
  const int router = parameters.find("model.layers.1.block_sparse_moe.gate.weight");
  const std::vector<double> before = to_doubles(parameters.value(router));
  upcycle(parameters, dense.model.parameters());
  EXPECT_EQ(to_doubles(parameters.value(router)), before);
}

TEST(UpcycledModel, SparseExpertsTakeTheWeightsThatExist) {
  TestModel dense(kDense);
  Transformer sparse(with({.count = 2, .active = 2}));
  Parameters& parameters = sparse.parameters();
  const std::string name = "model.layers.0.block_sparse_moe.experts.1.w2.weight";
  const ParameterRun run = {parameters.find(name), 1};
  const Pattern pattern = testing::random_pattern(40, 72, {}, 0.3, 4);
  parameters.set_patterns({{run, pattern}});
  const Arena arena = sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
  upcycle(parameters, dense.model.parameters());
  const Parameters& from = dense.model.parameters();
  const auto whole = from.value(from.find("model.layers.0.mlp.down_proj.weight")).values<float>();
  const auto values = parameters.values_of(run).values<float>();
  for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
    EXPECT_EQ(values[static_cast<size_t>(value)], whole[static_cast<size_t>(row * 72 + column)]);
  });
}

std::string refusal(const ExpertConfig& experts) {
  try {
    expect_upcyclable(with(experts));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    return error.what();
  }
  return "";
}

TEST(UpcycledModel, ExpertsThatAreNoCopiesAreRefused) {
  EXPECT_EQ(refusal({.count = 4, .active = 2, .ffn = 72}), "");
  EXPECT_NE(refusal({.count = 4, .active = 2, .ffn = 36}).find("expected 72 (model.ffn)"), std::string::npos);
  EXPECT_NE(refusal({.count = 4, .active = 2, .shared = 1}).find("model.experts.shared = 1"),
            std::string::npos);
}

}  // namespace
}  // namespace fern
