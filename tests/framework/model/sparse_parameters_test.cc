// Parameters with patterns, and a model of them against the dense one with zeros.
#include <gtest/gtest.h>

#include "framework/sparsity/for_each_weight.h"
#include "framework/sparsity/product_choice.h"
#include "tests/framework/model/test_model.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern::testing {
namespace {

const ModelConfig kConfig = {.vocabulary = 48,
                             .layers = 2,
                             .hidden = 32,
                             .heads = 4,
                             .kv_heads = 2,
                             .ffn = 40,
                             .context = 24,
                             .dtype = DType::kF64};

std::vector<SparseRun> patterns_for(const Parameters& parameters, BlockShape block, bool embeddings) {
  std::vector<SparseRun> sparse;
  for (const ParameterRun run : parameters.runs()) {
    if (!embeddings && parameters.list()[static_cast<size_t>(run.first)].kind != ParameterKind::kMatrix)
      continue;
    const Shape shape = parameters.shape_of(run);
    sparse.push_back({run, random_pattern(shape[0], shape[1], block, 0.3, sparse.size() + 5)});
  }
  return sparse;
}

// Copies of a sparse model's values into a dense model's, zeros elsewhere.
void make_dense(Parameters& dense, const Parameters& sparse) {
  fill_zero(dense.values());
  for (size_t i = 0; i < sparse.list().size(); ++i) {
    const auto index = static_cast<int>(i);
    const auto from = sparse.value(index).values<double>(), to = dense.value(index).values<double>();
    if (!sparse.list()[i].sparse) {
      std::copy(from.begin(), from.end(), to.begin());
      continue;
    }
    const Pattern pattern = sparse.pattern_of(index);
    for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
      to[static_cast<size_t>(row * pattern.columns() + column)] = from[static_cast<size_t>(value)];
    });
  }
  dense.note_change();
}

struct SparseModel {
  explicit SparseModel(BlockShape block, const ModelConfig& config = kConfig, bool embeddings = false)
      : model(config) {
    model.parameters().set_patterns(patterns_for(model.parameters(), block, embeddings));
    arena = std::make_unique<Arena>(
        sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF64); }));
    fill_random(model.parameters().values(), 3, 0.3);
    model.parameters().note_change();
  }
  Transformer model;
  std::unique_ptr<Arena> arena;
};

void expect_gradients_match(BlockShape block, const ModelConfig& config = kConfig, bool embeddings = false) {
  SparseModel sparse(block, config, embeddings);
  TestModel dense(config);
  make_dense(dense.model.parameters(), sparse.model.parameters());
  const MicroBatch batch = random_batch(kConfig.vocabulary, 2, kConfig.context, 9);
  dense.prepare(2 * config.context);
  const double dense_loss = dense.forward(batch);
  dense.gradient(batch);
  Parameters& parameters = sparse.model.parameters();
  std::unique_ptr<Transformer::Activations> activations;
  const Arena arena = sized_arena("activations", [&](Arena& a) {
    activations = sparse.model.allocate_activations(a, 2 * kConfig.context);
  });
  fill_zero(parameters.gradients());
  std::vector<double> losses(2);
  Stream stream;
  RecordingSink sink;
  const double loss = sparse.model.forward(*activations, losses, batch, stream);
  sparse.model.backward(*activations, batch, sink, stream);
  EXPECT_NEAR(loss, dense_loss, 1e-12 * std::abs(loss));
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const auto index = static_cast<int>(i);
    const auto got = parameters.gradient(index).values<double>();
    const auto expected = dense.model.parameters().gradient(index).values<double>();
    if (!parameters.list()[i].sparse) continue;
    const Pattern pattern = parameters.pattern_of(index);
    for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
      ASSERT_NEAR(got[static_cast<size_t>(value)],
                  expected[static_cast<size_t>(row * pattern.columns() + column)], 1e-11)
          << parameters.list()[i].name;
    });
  }
}

TEST(SparseParameters, GradientsMatchTheMaskedDenseModel) {
  expect_gradients_match({});
  expect_gradients_match({8, 8});
}

TEST(SparseParameters, EmbeddingAndHeadMatchTheMaskedDenseModel) {
  for (const bool tied : {true, false}) {
    ModelConfig config = kConfig;
    config.tie_embeddings = tied;
    expect_gradients_match({}, config, true);
    expect_gradients_match({8, 8}, config, true);
  }
}

TEST(SparseParameters, ScoredRowsOfATiedEmbeddingGetBothGradients) {
  ModelConfig config = kConfig;
  config.tie_embeddings = true;
  SparseModel sparse({}, config, true);
  TestModel dense(config);
  Parameters& parameters = sparse.model.parameters();
  make_dense(dense.model.parameters(), parameters);
  const MicroBatch batch = random_batch(config.vocabulary, 2, config.context, 9);
  dense.gradient(batch);
  const int table = parameters.find("model.embed_tokens.weight");
  constexpr int64_t kFirst = 5, kRows = 30;
  std::vector<double> window(static_cast<size_t>(kRows * config.hidden));
  parameters.set_scored_rows({{{table, 1}, kFirst, Tensor::of(window.data(), {kRows, config.hidden})}});
  std::unique_ptr<Transformer::Activations> activations;
  const Arena arena = sized_arena("activations", [&](Arena& a) {
    activations = sparse.model.allocate_activations(a, 2 * config.context);
  });
  fill_zero(parameters.gradients());
  std::vector<double> losses(2);
  Stream stream;
  RecordingSink sink;
  sparse.model.forward(*activations, losses, batch, stream);
  sparse.model.backward(*activations, batch, sink, stream);
  const auto expected = dense.model.parameters().gradient(table).values<double>();
  for (size_t i = 0; i < window.size(); ++i)
    ASSERT_NEAR(window[i], expected[static_cast<size_t>(kFirst * config.hidden) + i], 1e-11) << i;
}

TEST(SparseParameters, ASparseEmbeddingNamesAnIdOutsideTheVocabulary) {
  SparseModel sparse({}, kConfig, true);
  Stream stream;
  const std::vector<int32_t> ids = {3, 48};
  EXPECT_THROW(sparse.model.logits(ids, stream), Error);
}

TEST(SparseParameters, BuffersHoldTheWeightsThatExistAlone) {
  const SparseModel sparse({});
  const Parameters& parameters = sparse.model.parameters();
  int64_t sum = 0, end = 0;
  for (const Parameter& parameter : parameters.list()) {
    if (parameter.begins_group) end = (end + kParameterChunk - 1) / kParameterChunk * kParameterChunk;
    EXPECT_EQ(parameter.offset, end);
    end += parameter.nonzeros;
    sum += parameter.nonzeros;
  }
  EXPECT_EQ(parameters.elements(), sum);
  EXPECT_LT(sum, parameters.dense_elements());
  EXPECT_EQ(parameters.values().elements(), parameters.padded_elements());
}

TEST(SparseParameters, PatternsOfARunDivideAmongItsMatrices) {
  const SparseModel sparse({8, 8});
  const Parameters& parameters = sparse.model.parameters();
  const int first = parameters.find("model.layers.0.self_attn.q_proj.weight");
  std::vector<Pattern> parts;
  for (int i = first; i < first + 3; ++i) parts.push_back(parameters.pattern_of(i));
  EXPECT_EQ(Pattern::stacked(parts), *parameters.pattern_of(ParameterRun{first, 3}));
  EXPECT_EQ(parts[1].nonzeros(), parameters.list()[static_cast<size_t>(first) + 1].nonzeros);
}

TEST(SparseParameters, InitialValuesAreThoseOfTheDenseModel) {
  SparseModel sparse({});
  TestModel dense(kConfig);
  sparse.model.parameters().initialize(4);
  dense.model.parameters().initialize(4);
  const int index = sparse.model.parameters().find("model.layers.1.mlp.up_proj.weight");
  const Pattern pattern = sparse.model.parameters().pattern_of(index);
  const auto got = sparse.model.parameters().value(index).values<double>();
  const auto expected = dense.model.parameters().value(index).values<double>();
  ASSERT_GT(pattern.nonzeros(), 0);
  for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
    ASSERT_EQ(got[static_cast<size_t>(value)],
              expected[static_cast<size_t>(row * pattern.columns() + column)]);
  });
}

TEST(SparseParameters, ScoredRowsGetTheDenseGradient) {
  SparseModel sparse({});
  TestModel dense(kConfig);
  Parameters& parameters = sparse.model.parameters();
  make_dense(dense.model.parameters(), parameters);
  const MicroBatch batch = random_batch(kConfig.vocabulary, 2, kConfig.context, 9);
  dense.gradient(batch);
  const int up = parameters.find("model.layers.0.mlp.up_proj.weight");
  constexpr int64_t kFirst = 50, kRows = 20;  // of gate and up: rows 10 to 29 of up
  std::vector<double> window(static_cast<size_t>(kRows * kConfig.hidden));
  parameters.set_scored_rows({{{up - 1, 2}, kFirst, Tensor::of(window.data(), {kRows, kConfig.hidden})}});
  std::unique_ptr<Transformer::Activations> activations;
  const Arena arena = sized_arena("activations", [&](Arena& a) {
    activations = sparse.model.allocate_activations(a, 2 * kConfig.context);
  });
  fill_zero(parameters.gradients());
  std::vector<double> losses(2);
  Stream stream;
  RecordingSink sink;
  sparse.model.forward(*activations, losses, batch, stream);
  sparse.model.backward(*activations, batch, sink, stream);
  const auto expected = dense.model.parameters().gradient(up).values<double>();
  for (size_t i = 0; i < window.size(); ++i)
    ASSERT_NEAR(window[i], expected[(kFirst - 40) * 32 + i], 1e-11) << i;
}

// The gradient of a model in f32 whose patterns are nearly full.
std::vector<double> gradient_of_nearly_dense(bool with_room, size_t* used_bytes) {
  ModelConfig config = kConfig;
  config.dtype = DType::kF32;
  Transformer model(config);
  Parameters& parameters = model.parameters();
  std::vector<SparseRun> sparse;
  for (const ParameterRun run : parameters.runs())
    if (parameters.list()[static_cast<size_t>(run.first)].kind == ParameterKind::kMatrix)
      sparse.push_back(
          {run, random_pattern(parameters.shape_of(run)[0], parameters.shape_of(run)[1], {}, 0.97, 3)});
  parameters.set_patterns(std::move(sparse));
  const Arena arena = sized_arena("parameters", [&](Arena& a) {
    parameters.allocate(a, DType::kF32);
    if (with_room) model.allocate_packed_weights(a);
  });
  *used_bytes = arena.used_bytes();
  fill_random(parameters.values(), 3, 0.3);
  parameters.note_change();
  std::unique_ptr<Transformer::Activations> activations;
  const Arena activation_arena = sized_arena(
      "activations", [&](Arena& a) { activations = model.allocate_activations(a, 2 * kConfig.context); });
  fill_zero(parameters.gradients());
  std::vector<double> losses(2);
  Stream stream;
  RecordingSink sink;
  const MicroBatch batch = random_batch(kConfig.vocabulary, 2, kConfig.context, 9);
  model.forward(*activations, losses, batch, stream);
  model.backward(*activations, batch, sink, stream);
  return to_doubles(parameters.gradients());
}

TEST(SparseParameters, HardlySparseMatricesAreMultipliedDense) {
  ASSERT_TRUE(prefers_dense(random_pattern(64, 64, {}, 0.97, 3), DType::kF32));
  size_t with_bytes = 0, without_bytes = 0;
  const std::vector<double> dense = gradient_of_nearly_dense(true, &with_bytes),
                            sparse = gradient_of_nearly_dense(false, &without_bytes);
  EXPECT_GT(with_bytes, without_bytes);
  double largest = 0, difference = 0;
  for (size_t i = 0; i < dense.size(); ++i) {
    largest = std::max(largest, std::abs(sparse[i]));
    difference = std::max(difference, std::abs(dense[i] - sparse[i]));
  }
  EXPECT_LT(difference, 1e-5 * largest);
  EXPECT_NE(dense, sparse);
}

TEST(SparseParameters, RefusesAPatternOfAnotherShape) {
  Transformer model(kConfig);
  const ParameterRun run = model.parameters().runs().front();
  EXPECT_THROW(model.parameters().set_patterns({{run, Pattern::full(3, 3)}}), Error);
}

}  // namespace
}  // namespace fern::testing
