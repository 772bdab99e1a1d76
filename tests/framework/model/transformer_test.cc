#include "framework/model/transformer.h"

#include <gtest/gtest.h>

#include <numeric>

#include "framework/core/profile.h"
#include "tests/framework/model/test_model.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

const ModelConfig kSmall = {
    .vocabulary = 50, .layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .ffn = 48, .context = 160};

// Checks, when a gradient is said to be complete, that nothing adds to it later.
class CompletenessSink : public GradSink {
 public:
  explicit CompletenessSink(const Parameters& parameters) : parameters_(parameters) {}
  void add(const Parameter& parameter) override {
    seen.emplace_back(parameters_.find(parameter.name), values(parameters_.find(parameter.name)));
  }
  std::vector<double> values(int index) const { return to_doubles(parameters_.gradient(index)); }
  std::vector<std::pair<int, std::vector<double>>> seen;

 private:
  const Parameters& parameters_;
};

TEST(Transformer, TellsOfEachGradientOnceWhenComplete) {
  for (bool tied : {true, false}) {
    ModelConfig config = kSmall;
    config.tie_embeddings = tied;
    config.qk_norm = !tied;
    TestModel test(config);
    const MicroBatch batch = random_batch(config.vocabulary, 2, 20, 1);
    test.prepare(40);
    CompletenessSink sink(test.model.parameters());
    test.forward(batch);
    test.model.backward(*test.activations, batch, sink, test.stream);
    std::vector<int> indices;
    for (const auto& [index, values] : sink.seen) {
      indices.push_back(index);
      EXPECT_EQ(values, sink.values(index))
          << test.model.parameters().list()[static_cast<size_t>(index)].name;
    }
    std::sort(indices.begin(), indices.end());
    std::vector<int> all(test.model.parameters().list().size());
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(indices, all);
  }
}

TEST(Transformer, AProfileHoldsTheWorkOfEveryProduct) {
  for (const bool packed : {true, false}) {
    TestModel test(kSmall, 1, packed);
    const MicroBatch batch = random_batch(kSmall.vocabulary, 2, 20, 1);
    Profile profile;
    test.stream.set_profile(&profile);
    profile.begin_step(1);
    profile.begin_step(2);
    test.gradient(batch);
    double flops = 0;
    for (const Profile::Total& total : profile.totals())
      if (total.work.rows > 0) flops += total.work.flops;
    const int64_t qkv_rows = 32 + 2 * 16, layer_weights = 32 * (qkv_rows + 32) + 3 * 32 * 48;
    const int64_t logits = batch.loss_tokens * kSmall.vocabulary;
    EXPECT_EQ(flops, static_cast<double>(6 * (40 * kSmall.layers * layer_weights + logits * 32)));
  }
}

TEST(Transformer, NamesAreThoseOfLlama) {
  ModelConfig config = kSmall;
  config.tie_embeddings = false;
  const Transformer model(config);
  const Parameters& parameters = model.parameters();
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.input_layernorm.weight",
                           "model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight",
                           "model.layers.1.self_attn.v_proj.weight", "model.layers.1.self_attn.o_proj.weight",
                           "model.layers.1.post_attention_layernorm.weight",
                           "model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.up_proj.weight",
                           "model.layers.1.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"})
    EXPECT_GE(parameters.find(name), 0) << name;
  EXPECT_EQ(parameters.list().size(), 2u * 9 + 3);
}

TEST(Transformer, GainsOfQueriesAndKeysHaveQwensNamesAndAreNorms) {
  ModelConfig config = kSmall;
  config.qk_norm = true;
  const Transformer model(config);
  const Parameters& parameters = model.parameters();
  for (const char* name :
       {"model.layers.0.self_attn.q_norm.weight", "model.layers.1.self_attn.k_norm.weight"}) {
    const int index = parameters.find(name);
    ASSERT_GE(index, 0) << name;
    const Parameter& gain = parameters.list()[static_cast<size_t>(index)];
    EXPECT_EQ(gain.kind, ParameterKind::kNorm);  // so it starts at one, and does not decay
    EXPECT_EQ(gain.shape, (Shape{config.head_size()}));
  }
  EXPECT_EQ(parameters.elements(), Transformer(kSmall).parameters().elements() + 2 * 2 * 8);
  EXPECT_EQ(training_flops_per_token(config, 64), training_flops_per_token(kSmall, 64));
}

TEST(Transformer, ScoreEqualsForwardAndLeavesGradientsAlone) {
  TestModel test(kSmall);
  const MicroBatch batch = random_batch(kSmall.vocabulary, 3, 30, 2);
  test.prepare(90);
  std::vector<float> loss(90);
  test.model.score(loss, *test.activations, batch, test.stream);
  for (double gradient : to_doubles(test.model.parameters().gradients())) ASSERT_EQ(gradient, 0.0);
  std::vector<double> sequence_loss(3);
  const double weighted = test.model.forward(*test.activations, sequence_loss, batch, test.stream);
  double expected_weighted = 0;
  for (size_t sequence = 0; sequence < 3; ++sequence) {
    double expected = 0;
    for (size_t t = 30 * sequence; t < 30 * (sequence + 1); ++t) {
      EXPECT_EQ(loss[t] == 0.0f, batch.target_T[t] == -1);
      expected += double{loss[t]};
      expected_weighted += double{loss[t]} * double{batch.loss_weight_T[t]};
    }
    EXPECT_NEAR(sequence_loss[sequence], expected, 1e-4);
  }
  EXPECT_NEAR(weighted, expected_weighted, 1e-5);
}

TEST(Transformer, MeasuredActivationsAreTheOnesUsed) {
  for (bool recompute : {false, true}) {
    ModelConfig config = kSmall;
    config.recompute = recompute;
    config.qk_norm = recompute;
    const Transformer model(config);
    Arena measure = Arena::measuring("activations");
    model.allocate_activations(measure, 40);
    Arena used("activations", measure.used_bytes());
    model.allocate_activations(used, 40);
    EXPECT_EQ(measure.used_bytes(), used.used_bytes());
  }
}

TEST(Transformer, RefusesABatchOfAnotherSize) {
  TestModel test(kSmall);
  test.prepare(40);
  EXPECT_THROW(test.forward(random_batch(kSmall.vocabulary, 1, 30, 1)), Error);
}

TEST(Transformer, RefusesSequencesLongerThanItsContext) {
  TestModel test(kSmall);
  test.prepare(200);
  EXPECT_THROW(test.forward(random_batch(kSmall.vocabulary, 1, 200, 1)), Error);
}

TEST(Transformer, CountsTheFlopsOfItsProducts) {
  const ModelConfig config = {
      .vocabulary = 100, .layers = 3, .hidden = 8, .heads = 4, .kv_heads = 2, .ffn = 16, .context = 64};
  const double layer = 8 * (8 + 4 + 4) + 8 * 8 + 3 * 8 * 16;
  const double attention = 2 * 8 * 32;  // scores and mix over half of 64 positions
  EXPECT_EQ(training_flops_per_token(config, 64), 6 * (3 * (layer + attention) + 100 * 8));
}

TEST(Transformer, CountsTheFlopsOfHeadsOfTheirOwnSize) {
  const ModelConfig config = {.vocabulary = 100,
                              .layers = 3,
                              .hidden = 8,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 6,
                              .ffn = 16,
                              .context = 64};
  const double layer = 8 * (24 + 12 + 12) + 24 * 8 + 3 * 8 * 16;
  const double attention = 2 * 24 * 32;
  EXPECT_EQ(training_flops_per_token(config, 64), 6 * (3 * (layer + attention) + 100 * 8));
  EXPECT_EQ(training_flops_per_token(config, Transformer(config).parameters(), 64),
            training_flops_per_token(config, 64));
}

TEST(Transformer, CountsTheFlopsOfTheWeightsThatExist) {
  for (const bool tied : {true, false}) {
    ModelConfig config = kSmall;
    config.tie_embeddings = tied;
    Transformer model(config);
    const double dense = training_flops_per_token(config, 64);
    EXPECT_EQ(training_flops_per_token(config, model.parameters(), 64), dense);
    const int64_t before = model.parameters().elements();
    const ParameterRun run = model.parameters().runs().back();
    const Shape shape = model.parameters().shape_of(run);
    model.parameters().set_patterns({{run, testing::random_pattern(shape[0], shape[1], {}, 0.3, 1)}});
    const auto gone = static_cast<double>(before - model.parameters().elements());
    EXPECT_GT(gone, 0);
    EXPECT_EQ(training_flops_per_token(config, model.parameters(), 64), dense - 6 * gone);
  }
}

}  // namespace
}  // namespace fern
