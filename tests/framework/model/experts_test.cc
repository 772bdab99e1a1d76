// Models with experts.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <numeric>

#include "framework/layers/feed_forward.h"
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
                           .dtype = DType::kF64,
                           .experts = {.count = 4, .active = 2, .ffn = 5}};

const ModelConfig kSmall = {.vocabulary = 50,
                            .layers = 3,
                            .hidden = 40,
                            .heads = 4,
                            .kv_heads = 2,
                            .ffn = 72,
                            .context = 33,
                            .experts = {.count = 5, .active = 2, .ffn = 24, .shared = 1, .every = 2}};

struct Variant {
  std::string name;
  ExpertConfig experts;
  bool recompute = false;
};

ModelConfig with(const Variant& variant) {
  ModelConfig config = kTiny;
  config.experts = variant.experts;
  config.recompute = variant.recompute;
  return config;
}

// What backward() takes the gradient of.
double loss_of(TestModel& test, const MicroBatch& batch) {
  const double loss = test.forward(batch);
  const RouterLosses routers = test.model.routing_record().sum_of_losses();
  return loss + routers.balance + routers.z;
}

// Shares as they might have been in the step before.
void set_uneven_shares(Transformer& model) {
  RoutingState& routing = model.routing();
  for (int64_t layer = 0; layer < routing.layers(); ++layer)
    for (int64_t e = 0; e < routing.experts(); ++e)
      routing.share_E(layer)[static_cast<size_t>(e)] = 0.1 * static_cast<double>(1 + (e + layer) % 3);
}

class ExpertsGradient : public testing::TestWithParam<Variant> {};

TEST_P(ExpertsGradient, MatchesFiniteDifference) {
  TestModel test(with(GetParam()));
  set_uneven_shares(test.model);
  const MicroBatch batch = random_batch(kTiny.vocabulary, 2, 9, 3);
  const std::vector<double> gradient = test.gradient(batch);
  for (const Parameter& parameter : test.model.parameters().list()) {
    for (int64_t i = parameter.offset; i < parameter.offset + parameter.elements(); i += 3) {
      double& value = test.model.parameters().values().as<double>()[i];
      const double middle = value, step = 1e-6;
      value = middle + step;
      const double above = loss_of(test, batch);
      value = middle - step;
      const double below = loss_of(test, batch);
      value = middle;
      const double expected = (above - below) / (2 * step);
      ASSERT_NEAR(gradient[static_cast<size_t>(i)], expected, 1e-7 + 1e-5 * std::abs(expected))
          << parameter.name << "[" << i - parameter.offset << "]";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Variants, ExpertsGradient,
    testing::Values(
        Variant{"Mixtral", {.count = 4, .active = 2, .ffn = 5}},
        Variant{"Switch", {.count = 3, .active = 1, .ffn = 7, .router = RouterKind::kSwitch}},
        Variant{"AllActive", {.count = 3, .active = 3}},
        Variant{"Shared", {.count = 4, .active = 2, .ffn = 5, .shared = 2}},
        Variant{"EverySecond", {.count = 4, .active = 2, .ffn = 5, .every = 2}},
        Variant{"Capacity", {.count = 4, .active = 2, .ffn = 5, .capacity_factor = 0.7}},
        Variant{"Losses", {.count = 4, .active = 2, .balance_loss = 0.5, .z_loss = 0.2}},
        Variant{"Recomputed", {.count = 4, .active = 2, .ffn = 5, .every = 2, .balance_loss = 0.5}, true}),
    [](const auto& info) { return info.param.name; });

// A layer of experts from its definition, token by token.
std::vector<double> plain_experts(const Parameters& parameters, const ModelConfig& config, int64_t layer,
                                  const std::vector<double>& n) {
  const auto matrix = [&](const std::string& name) {
    const int index =
        parameters.find("model.layers." + std::to_string(layer) + ".block_sparse_moe." + name + ".weight");
    EXPECT_GE(index, 0) << name;
    return to_doubles(parameters.value(index));
  };
  const auto product = [](const std::vector<double>& w, const std::vector<double>& x) {
    std::vector<double> y(w.size() / x.size());
    for (size_t o = 0; o < y.size(); ++o)
      for (size_t i = 0; i < x.size(); ++i) y[o] += w[o * x.size() + i] * x[i];
    return y;
  };
  std::vector<double> probs = product(matrix("gate"), n);
  for (double& p : probs) p = std::exp(p);
  std::vector<size_t> order(probs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return probs[a] > probs[b]; });
  order.resize(static_cast<size_t>(config.experts.active));
  double sum = 0;
  for (const size_t e : order) sum += probs[e];
  std::vector<double> y(n.size());
  for (const size_t e : order) {
    const std::string expert = "experts." + std::to_string(e);
    std::vector<double> h = product(matrix(expert + ".w1"), n);
    const std::vector<double> up = product(matrix(expert + ".w3"), n);
    for (size_t f = 0; f < h.size(); ++f) h[f] = h[f] / (1 + std::exp(-h[f])) * up[f];
    const std::vector<double> out = product(matrix(expert + ".w2"), h);
    for (size_t d = 0; d < y.size(); ++d) y[d] += probs[e] / sum * out[d];
  }
  return y;
}

TEST(Experts, ALayerMatchesItsDefinition) {
  ModelConfig config = kTiny;
  config.layers = 1;
  Parameters parameters;
  RoutingState state(config);
  LoneAxis axis;
  LoneDispatcher dispatcher;
  const FeedForwardBlock block(parameters, axis, dispatcher, config, 0, state);
  constexpr int64_t kTokens = 11;
  FeedForwardBlock::Saved saved;
  BlockScratch scratch;
  RoutedPositions positions;
  Tensor y_TD, x_TD;
  const Arena arena = sized_arena("test", [&](Arena& a) {
    parameters.allocate(a, DType::kF64);
    saved = block.allocate(a, kTokens);
    scratch = allocate_block_scratch(a, config, axis, dispatcher, kTokens);
    positions.language_T = a.allocate(DType::kI32, {kTokens});
    y_TD = a.allocate(DType::kF64, {kTokens, config.hidden});
    x_TD = a.allocate(DType::kF64, {kTokens, config.hidden});
  });
  fill_random(parameters.values(), 1, 0.5);
  fill_random(x_TD, 2, 1);
  fill_zero(saved.x_TD);
  Stream stream;
  block.forward(y_TD, saved, scratch, x_TD, positions, stream);
  const std::vector<double> n = to_doubles(scratch.n_TD), y = to_doubles(y_TD);
  const auto hidden = static_cast<std::ptrdiff_t>(config.hidden);
  for (std::ptrdiff_t t = 0; t < kTokens; ++t) {
    const std::vector<double> row(n.begin() + t * hidden, n.begin() + (t + 1) * hidden);
    const std::vector<double> expected = plain_experts(parameters, config, 0, row);
    for (std::ptrdiff_t d = 0; d < hidden; ++d)
      ASSERT_NEAR(y[static_cast<size_t>(t * hidden + d)], expected[static_cast<size_t>(d)], 1e-12);
  }
}

TEST(Experts, OneExpertOfAllIsTheDenseModel) {
  ModelConfig dense = kTiny, one = kTiny;
  dense.experts = {};
  one.experts = {.count = 1, .active = 1};
  TestModel a(dense), b(one);
  for (size_t i = 0; i < a.model.parameters().list().size(); ++i) {
    std::string name = a.model.parameters().list()[i].name;
    for (const auto& [llama, mixtral] : {std::pair{"mlp.gate_proj", "block_sparse_moe.experts.0.w1"},
                                         {"mlp.up_proj", "block_sparse_moe.experts.0.w3"},
                                         {"mlp.down_proj", "block_sparse_moe.experts.0.w2"}})
      if (const size_t at = name.find(llama); at != std::string::npos)
        name.replace(at, std::string(llama).size(), mixtral);
    const int index = b.model.parameters().find(name);
    ASSERT_GE(index, 0) << name;
    const auto from = a.model.parameters().value(static_cast<int>(i)).values<double>();
    std::ranges::copy(from, b.model.parameters().value(index).values<double>().begin());
  }
  MicroBatch batch = random_batch(kTiny.vocabulary, 2, 9, 3);
  batch.length_S.assign(2, 9);  // the dense model computes padding as well
  a.prepare(18), b.prepare(18);
  EXPECT_NEAR(a.forward(batch), b.forward(batch), 1e-14);
}

TEST(Experts, NamesAreThoseOfMixtral) {
  const Transformer model(kSmall);
  const Parameters& parameters = model.parameters();
  for (const char* name :
       {"model.layers.0.mlp.gate_proj.weight", "model.layers.1.block_sparse_moe.gate.weight",
        "model.layers.1.block_sparse_moe.experts.0.w1.weight",
        "model.layers.1.block_sparse_moe.experts.4.w2.weight",
        "model.layers.1.block_sparse_moe.experts.4.w3.weight",
        "model.layers.1.block_sparse_moe.shared_expert.down_proj.weight",
        "model.layers.2.mlp.up_proj.weight"})
    EXPECT_GE(parameters.find(name), 0) << name;
  EXPECT_LT(parameters.find("model.layers.1.mlp.gate_proj.weight"), 0);
  EXPECT_LT(parameters.find("model.layers.1.block_sparse_moe.gate.weight"),
            parameters.find("model.layers.1.block_sparse_moe.experts.0.w1.weight"));
  EXPECT_EQ(
      parameters.list()[static_cast<size_t>(parameters.find("model.layers.1.block_sparse_moe.gate.weight"))]
          .kind,
      ParameterKind::kRouter);
}

TEST(Experts, RecomputationGivesTheSameBits) {
  ModelConfig config = kSmall;
  const MicroBatch batch = random_batch(config.vocabulary, 3, 33, 5);
  TestModel stored(config);
  config.recompute = true;
  TestModel recomputed(config);
  EXPECT_EQ(stored.gradient(batch), recomputed.gradient(batch));
  EXPECT_LT(recomputed.activation_arena->used_bytes(), stored.activation_arena->used_bytes());
}

TEST(Experts, ThreadsDoNotChangeTheBits) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    ModelConfig config = kSmall;
    config.dtype = dtype;
    config.hidden = 96;
    config.experts.ffn = 200;
    const MicroBatch batch = random_batch(config.vocabulary, 3, 33, 5);
    TestModel test(config);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const std::vector<double> one = test.gradient(batch);
    for (const int count : {2, 3}) {
      omp_set_num_threads(count);
      EXPECT_EQ(test.gradient(batch), one) << count << " threads";
    }
    omp_set_num_threads(threads);
  }
}

TEST(Experts, BF16FollowsF32) {
  ModelConfig config = kSmall;
  const MicroBatch batch = random_batch(config.vocabulary, 3, 33, 5);
  TestModel exact(config);
  exact.model.parameters().initialize(3);
  exact.prepare(99);
  const double loss = exact.forward(batch);
  config.dtype = DType::kBF16;
  TestModel rounded(config);
  rounded.model.parameters().initialize(3);
  rounded.prepare(99);
  EXPECT_NEAR(rounded.forward(batch), loss, 2e-3 * loss);
}

TEST(Experts, PaddingDoesNotChangeTheLoss) {
  ModelConfig config = kTiny;
  config.experts = {.count = 4, .active = 2, .capacity_factor = 1};
  TestModel test(config);
  MicroBatch batch = random_batch(config.vocabulary, 2, 9, 3);
  test.prepare(18);
  const double loss = test.forward(batch);
  batch.input_T[7] = batch.input_T[8] = 5;
  EXPECT_EQ(test.forward(batch), loss);
}

TEST(Experts, GeneratesTheLogitsOfWholeDocuments) {
  TestModel test(kSmall);
  const std::vector<int32_t> tokens = {3, 17, 4, 44, 9, 21, 5, 30};
  const std::vector<float> whole = test.model.logits(tokens, test.stream);
  const auto cache = test.model.make_cache(8);
  for (size_t t = 0; t < tokens.size(); ++t) {
    const auto logits = test.model.next_logits(*cache, std::span(tokens).subspan(t, 1), test.stream);
    for (size_t v = 0; v < 50; ++v) ASSERT_NEAR(logits[v], whole[t * 50 + v], 2e-5) << "position " << t;
  }
}

TEST(Experts, ScoreEqualsForwardAndIsNotRecorded) {
  TestModel test(kSmall);
  test.model.routing_record().counts = RoutingCounts(1, 5, 1);
  const MicroBatch batch = random_batch(kSmall.vocabulary, 3, 33, 2);
  test.prepare(99);
  std::vector<float> loss(99);
  test.model.score(loss, *test.activations, batch, test.stream);
  EXPECT_EQ(test.model.routing_record().counts.tokens(0, 0), 0);
  std::vector<double> sequence_loss(3);
  test.model.forward(*test.activations, sequence_loss, batch, test.stream);
  EXPECT_NEAR(std::accumulate(loss.begin(), loss.begin() + 33, 0.0), sequence_loss[0], 1e-4);
  EXPECT_EQ(test.model.routing_record().counts.tokens(0, 0), 93);
}

TEST(Experts, CountsWhatEachLanguageWasRoutedTo) {
  ModelConfig config = kTiny;
  config.experts.capacity_factor = 0.5;
  TestModel test(config);
  test.model.routing_record().counts = RoutingCounts(2, 4, 3);
  MicroBatch batch = random_batch(config.vocabulary, 2, 9, 3);
  batch.language_S = {2, 0};
  test.prepare(18);
  test.forward(batch);
  const RoutingCounts& counts = test.model.routing_record().counts;
  for (int64_t layer = 0; layer < 2; ++layer) {
    double dropped = 0;
    std::vector<double> chosen(4);
    for (const int64_t language : {0, 1, 2}) {
      const auto row = counts.chosen_E(layer, language);
      EXPECT_EQ(counts.tokens(layer, language), language == 1 ? 0 : 7);
      EXPECT_EQ(std::accumulate(row.begin(), row.end(), 0.0), 2 * counts.tokens(layer, language));
      EXPECT_LE(counts.entropy_sum(layer, language), 7 * std::log(4.0) + 1e-5);
      dropped += counts.dropped(layer, language);
      for (size_t e = 0; e < 4; ++e) chosen[e] += row[e];
    }
    double expected = 0;  // of 14 x 2 pairs an expert takes 4
    for (const double pairs : chosen) expected += std::max(0.0, pairs - 4);
    EXPECT_EQ(dropped, expected);
    EXPECT_GT(dropped, 0);
  }
}

TEST(Experts, FlopsAreThoseOfTheExpertsThatATokenUses) {
  const Transformer model(kSmall);
  const double attention = 40 * (40 + 40) + 40 * 40, dense = 3 * 40 * 72;
  const double experts = 40 * 5 + 3 * 40 * 24 * (2 + 1);
  const double scores = 3 * 40 * 33.0;
  const double expected = 6 * (3 * attention + 2 * dense + experts + 50 * 40 + scores);
  EXPECT_EQ(training_flops_per_token(kSmall, 33), expected);
  EXPECT_EQ(training_flops_per_token(kSmall, model.parameters(), 33), expected);
  EXPECT_EQ(model.parameters().elements() - model.parameters().active_elements(), 3 * 3 * 40 * 24);
}

TEST(Experts, TakeMemoryForTheirTokensAlone) {
  const auto bytes = [](int64_t count) {
    ModelConfig config = kTiny;
    config.dtype = DType::kF32;
    config.experts.count = count;
    Arena arena = Arena::measuring("activations");
    Transformer(config).allocate_activations(arena, 1000);
    return arena.used_bytes();
  };
  // A router's logits and probabilities grow with experts, and nothing else.
  EXPECT_LE(bytes(32) - bytes(4), (1 + 2) * 28 * (1000 * sizeof(float) + 64));
}

std::string refusal(const ExpertConfig& experts) {
  ModelConfig config = kTiny;
  config.experts = experts;
  try {
    validate(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    return error.what();
  }
  return "";
}

TEST(Experts, SizesThatCannotBeAreRefused) {
  EXPECT_EQ(refusal({.count = 4, .active = 5}),
            "model.experts.active = 5: expected a whole number from 1 to 4");
  EXPECT_NE(refusal({.count = 4, .every = 3}).find("model.experts.every = 3"), std::string::npos);
  EXPECT_NE(refusal({.count = 4, .z_loss = -1}).find("model.experts.z_loss = -1"), std::string::npos);
  EXPECT_EQ(refusal({.count = 4, .active = 4}), "");
}

}  // namespace
}  // namespace fern
