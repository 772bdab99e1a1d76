// The gradients of a whole model.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>

#include "tests/framework/model/test_model.h"

namespace fern {
namespace {

const ModelConfig kTiny = {.vocabulary = 13,
                           .layers = 2,
                           .hidden = 8,
                           .heads = 4,
                           .kv_heads = 2,
                           .ffn = 6,
                           .context = 9,
                           .dtype = DType::kF64};

struct Variant {
  std::string name;
  bool tied;
  int64_t kv_heads;
  bool recompute;
  bool qk_norm = false;
  int64_t head_dim = 0;
};

ModelConfig with(const Variant& variant) {
  ModelConfig config = kTiny;
  config.tie_embeddings = variant.tied;
  config.kv_heads = variant.kv_heads;
  config.recompute = variant.recompute;
  config.qk_norm = variant.qk_norm;
  config.head_dim = variant.head_dim;
  return config;
}

class TransformerGradient : public testing::TestWithParam<Variant> {};

TEST_P(TransformerGradient, MatchesFiniteDifference) {
  TestModel test(with(GetParam()));
  const MicroBatch batch = random_batch(kTiny.vocabulary, 2, 9, 3);
  const std::vector<double> gradient = test.gradient(batch);
  for (const Parameter& parameter : test.model.parameters().list()) {
    for (int64_t i = parameter.offset; i < parameter.offset + parameter.elements(); i += 5) {
      double& value = test.model.parameters().values().as<double>()[i];
      const double middle = value, step = 1e-5;
      value = middle + step;
      const double above = test.forward(batch);
      value = middle - step;
      const double below = test.forward(batch);
      value = middle;
      const double expected = (above - below) / (2 * step);
      ASSERT_NEAR(gradient[static_cast<size_t>(i)], expected, 1e-8 + 1e-6 * std::abs(expected))
          << parameter.name << "[" << i - parameter.offset << "]";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, TransformerGradient,
                         testing::Values(Variant{"Tied", true, 2, false}, Variant{"Untied", false, 2, false},
                                         Variant{"OneKvHead", true, 1, false},
                                         Variant{"AllKvHeads", true, 4, false},
                                         Variant{"Recomputed", true, 2, true},
                                         Variant{"QkNorm", true, 2, false, true},
                                         Variant{"QkNormRecomputed", false, 1, true, true},
                                         Variant{"WideHeads", true, 2, false, true, 4},
                                         Variant{"WideHeadsAlone", false, 2, true, false, 6}),
                         [](const auto& info) { return info.param.name; });

TEST(Transformer, RecomputationGivesTheSameBits) {
  ModelConfig config = {
      .vocabulary = 50, .layers = 3, .hidden = 40, .heads = 4, .kv_heads = 2, .ffn = 72, .context = 33};
  const MicroBatch batch = random_batch(config.vocabulary, 3, 33, 5);
  TestModel stored(config);
  config.recompute = true;
  TestModel recomputed(config);
  EXPECT_EQ(stored.gradient(batch), recomputed.gradient(batch));
  EXPECT_LT(recomputed.activation_arena->used_bytes(), stored.activation_arena->used_bytes());
}

TEST(Transformer, ThreadsDoNotChangeTheBits) {
  const ModelConfig config = {.vocabulary = 700,
                              .layers = 2,
                              .hidden = 96,
                              .heads = 4,
                              .kv_heads = 2,
                              .ffn = 200,
                              .context = 50,
                              .qk_norm = true};
  const MicroBatch batch = random_batch(config.vocabulary, 3, 50, 5);
  TestModel test(config);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const std::vector<double> one = test.gradient(batch);
  for (int count : {2, 3}) {
    omp_set_num_threads(count);
    EXPECT_EQ(test.gradient(batch), one) << count << " threads";
  }
  omp_set_num_threads(threads);
}

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
  return ab / std::sqrt(aa * bb);
}

class BF16Transformer : public testing::TestWithParam<bool> {};

TEST_P(BF16Transformer, FollowsF32) {
  ModelConfig config = {.vocabulary = 300,
                        .layers = 2,
                        .hidden = 64,
                        .heads = 4,
                        .kv_heads = 2,
                        .ffn = 96,
                        .context = 33,
                        .qk_norm = GetParam()};
  const MicroBatch batch = random_batch(config.vocabulary, 3, 33, 5);
  TestModel exact(config);
  exact.model.parameters().initialize(3);
  const std::vector<double> expected = exact.gradient(batch);
  const double loss = exact.forward(batch);
  config.dtype = DType::kBF16;
  TestModel rounded(config);
  rounded.model.parameters().initialize(3);
  const std::vector<double> gradient = rounded.gradient(batch);
  EXPECT_NEAR(rounded.forward(batch), loss, 2e-3 * loss);
  EXPECT_GT(cosine(gradient, expected), 0.999);
  EXPECT_LT(rounded.activation_arena->used_bytes(),
            0.6 * static_cast<double>(exact.activation_arena->used_bytes()));
}

INSTANTIATE_TEST_SUITE_P(Heads, BF16Transformer, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "QkNorm" : "Plain"; });

TEST(Transformer, BF16KeepsItsBits) {
  ModelConfig config = {.vocabulary = 700,
                        .layers = 2,
                        .hidden = 96,
                        .heads = 4,
                        .kv_heads = 2,
                        .ffn = 200,
                        .context = 50,
                        .qk_norm = true,
                        .dtype = DType::kBF16};
  const MicroBatch batch = random_batch(config.vocabulary, 3, 50, 5);
  TestModel stored(config);
  const std::vector<double> gradient = stored.gradient(batch);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  EXPECT_EQ(stored.gradient(batch), gradient) << "another number of threads";
  omp_set_num_threads(threads);
  config.recompute = true;
  TestModel recomputed(config);
  EXPECT_EQ(recomputed.gradient(batch), gradient) << "recomputed";
}

TEST(Transformer, PackedWeightsFollowTheParameters) {
  const ModelConfig config = {
      .vocabulary = 50, .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .ffn = 96, .context = 33};
  const MicroBatch batch = random_batch(config.vocabulary, 3, 33, 5);
  TestModel packed(config), plain(config, 1, /*packed=*/false);
  packed.prepare(99), plain.prepare(99);
  EXPECT_NEAR(packed.forward(batch), plain.forward(batch), 1e-5);
  packed.model.parameters().initialize(9);
  plain.model.parameters().initialize(9);
  EXPECT_NEAR(packed.forward(batch), plain.forward(batch), 1e-5);
}

// One document of a packed sequence as a micro-batch of its own.
MicroBatch document_alone(const MicroBatch& packed, size_t begin, size_t end) {
  const auto cut = [&](const auto& from) {
    return std::decay_t<decltype(from)>(from.begin() + static_cast<std::ptrdiff_t>(begin),
                                        from.begin() + static_cast<std::ptrdiff_t>(end));
  };
  MicroBatch batch;
  batch.sequences = 1;
  batch.context = static_cast<int64_t>(end - begin);
  batch.input_T = cut(packed.input_T);
  batch.target_T = cut(packed.target_T);
  batch.loss_weight_T = cut(packed.loss_weight_T);
  batch.document_start_T.assign(end - begin, 0);
  batch.language_S = {0};
  batch.length_S = {static_cast<int32_t>(end - begin)};
  return batch;
}

// Largest difference between the gradient of packed sequences and the sum over their documents, each alone.
double packed_difference(TestModel& test, const MicroBatch& packed) {
  const std::vector<double> together = test.gradient(packed);
  std::vector<double> sum(together.size(), 0.0);
  for (size_t begin = 0, end = 0; begin < packed.input_T.size(); begin = end) {
    while (end < packed.input_T.size() && packed.document_start_T[end] == static_cast<int32_t>(begin)) ++end;
    const std::vector<double> alone = test.gradient(document_alone(packed, begin, end));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += alone[i];
  }
  double difference = 0;
  for (size_t i = 0; i < sum.size(); ++i) difference = std::max(difference, std::abs(together[i] - sum[i]));
  return difference;
}

TEST(Transformer, PackedGradientsEqualUnpackedOnes) {
  ModelConfig config = {
      .vocabulary = 50, .layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .ffn = 48, .context = 64};
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const MicroBatch packed = random_batch(config.vocabulary, 2, 64, seed);
    config.dtype = DType::kF64;
    TestModel exact(config, seed + 1);
    EXPECT_LT(packed_difference(exact, packed), 1e-12) << "seed " << seed;
    config.dtype = DType::kF32;
    TestModel initial(config);
    initial.model.parameters().initialize(seed);
    EXPECT_LT(packed_difference(initial, packed), 1e-6) << "seed " << seed;
  }
}

TEST(Transformer, GradientsOfMicroBatchesAddUp) {
  TestModel test(kTiny);
  const MicroBatch batch = random_batch(kTiny.vocabulary, 1, 9, 3);
  const std::vector<double> once = test.gradient(batch);
  test.forward(batch);
  test.model.backward(*test.activations, batch, test.sink, test.stream);
  const std::vector<double> twice = to_doubles(test.model.parameters().gradients());
  for (size_t i = 0; i < once.size(); ++i) ASSERT_NEAR(twice[i], 2 * once[i], 1e-12);
}

}  // namespace
}  // namespace fern
