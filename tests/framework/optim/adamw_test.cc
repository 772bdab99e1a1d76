#include "framework/optim/adamw.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "framework/core/error.h"
#include "framework/core/rng.h"

namespace fern {
namespace {

// A matrix that spans several chunks, a norm, and an embedding, none a multiple of anything.
struct Fixture {
  Parameters parameters;
  Arena arena;
  Stream stream;

  Fixture() : arena(take()) {}
  Arena take() {
    parameters.add("embedding", {101, 13}, ParameterKind::kEmbedding, 0.02);
    parameters.add("matrix", {257, 129}, ParameterKind::kMatrix, 0.02);
    parameters.add("norm", {29}, ParameterKind::kNorm, 0);
    Arena built = sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
    parameters.initialize(1);
    return built;
  }
  void fill_gradients(int64_t step) {
    float* gradients = parameters.gradients().as<float>();
    for (int64_t i = 0; i < parameters.elements(); ++i)
      gradients[i] = static_cast<float>(
          random_normal(2, Purpose::kTest, static_cast<uint64_t>(i), static_cast<uint32_t>(step)));
  }
  std::vector<float> values() const {
    const auto all = parameters.values().values<float>();
    return {all.begin(), all.end()};
  }
  Slice whole() const { return {0, parameters.padded_elements()}; }
};

Arena moments_arena(Slice slice) { return Arena("moments", static_cast<size_t>(slice.elements()) * 8 + 256); }

// The update in f64, as the paper has it.
struct Reference {
  std::vector<double> p, m, v;
  explicit Reference(const Fixture& f) {
    for (const float value : f.values()) p.push_back(static_cast<double>(value));
    m.resize(p.size());
    v.resize(p.size());
  }
  void step(const Fixture& f, const AdamWConfig& c, double lr, double scale, double t, bool norms_decay) {
    for (const Parameter& parameter : f.parameters.list()) {
      const bool decays = parameter.kind == ParameterKind::kMatrix ||
                          (norms_decay && parameter.kind != ParameterKind::kMatrix);
      for (int64_t e = 0; e < parameter.elements(); ++e) {
        const auto i = static_cast<size_t>(parameter.offset + e);
        const double g = scale * static_cast<double>(f.parameters.gradients().as<float>()[i]);
        if (decays) p[i] *= 1 - lr * c.weight_decay;
        m[i] = c.beta1 * m[i] + (1 - c.beta1) * g;
        v[i] = c.beta2 * v[i] + (1 - c.beta2) * g * g;
        const double m_hat = m[i] / (1 - std::pow(c.beta1, t));
        const double v_hat = v[i] / (1 - std::pow(c.beta2, t));
        p[i] -= lr * m_hat / (std::sqrt(v_hat) + c.epsilon);
      }
    }
  }
};

void expect_follows_reference(const AdamWConfig& config, bool norms_decay) {
  Fixture f;
  Arena arena = moments_arena(f.whole());
  AdamW optimizer(config, f.parameters, f.whole(), arena);
  Reference reference(f);
  for (int64_t t = 1; t <= 6; ++t) {
    f.fill_gradients(t);
    const double lr = 1e-2 / static_cast<double>(t);
    reference.step(f, config, lr, 0.5, static_cast<double>(t), norms_decay);
    optimizer.step(f.parameters, lr, 0.5, t, f.stream);
  }
  const auto values = f.values();
  for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], reference.p[i], 2e-6) << i;
}

TEST(AdamW, FollowsTheReferenceAndDecaysMatricesOnly) {
  expect_follows_reference({.weight_decay = 5.0}, false);
}

TEST(AdamW, DecaysNormsAndEmbeddingsWhenAsked) {
  expect_follows_reference({.weight_decay = 5.0, .decay_norms = true, .decay_embeddings = true}, true);
}

TEST(AdamW, FirstUpdateMovesByTheLearningRate) {
  Fixture f;
  Arena arena = moments_arena(f.whole());
  AdamW optimizer({.weight_decay = 0}, f.parameters, f.whole(), arena);
  const auto before = f.values();
  f.parameters.gradients().as<float>()[5] = -3.0f;
  optimizer.step(f.parameters, 0.25, 1.0, 1, f.stream);
  EXPECT_FLOAT_EQ(f.values()[5], before[5] + 0.25f);
  EXPECT_EQ(f.values()[6], before[6]);
}

TEST(AdamW, SlicesGiveTheBitsOfTheWhole) {
  Fixture whole, sliced;
  Arena whole_arena = moments_arena(whole.whole());
  AdamW one({}, whole.parameters, whole.whole(), whole_arena);
  std::vector<Arena> arenas;
  std::vector<AdamW> several;
  // Of every other chunk, and of those between.
  for (const int64_t first : {int64_t{0}, kParameterChunk}) {
    Slices slices;
    for (int64_t begin = first; begin < sliced.parameters.padded_elements(); begin += 2 * kParameterChunk)
      slices.add({begin, begin + kParameterChunk});
    arenas.push_back(moments_arena({0, slices.elements()}));
    several.emplace_back(AdamWConfig{}, sliced.parameters, slices, arenas.back());
  }
  for (int64_t t = 1; t <= 3; ++t) {
    whole.fill_gradients(t);
    sliced.fill_gradients(t);
    one.step(whole.parameters, 1e-3, 0.7, t, whole.stream);
    for (AdamW& part : several) part.step(sliced.parameters, 1e-3, 0.7, t, sliced.stream);
  }
  ASSERT_GE(several.front().slices().list().size(), 2u);
  EXPECT_EQ(whole.values(), sliced.values());
}

TEST(AdamW, ThreadsDoNotChangeTheBits) {
  const int threads = omp_get_max_threads();
  std::vector<std::vector<float>> results;
  for (const int count : {1, 2, 3}) {
    omp_set_num_threads(count);
    Fixture f;
    Arena arena = moments_arena(f.whole());
    AdamW optimizer({}, f.parameters, f.whole(), arena);
    for (int64_t t = 1; t <= 3; ++t) {
      f.fill_gradients(t);
      optimizer.step(f.parameters, 1e-3, 1.0, t, f.stream);
    }
    results.push_back(f.values());
  }
  omp_set_num_threads(threads);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(AdamW, PaddingStaysZero) {
  Fixture f;
  ASSERT_GT(f.parameters.padded_elements(), f.parameters.elements());
  Arena arena = moments_arena(f.whole());
  AdamW optimizer({}, f.parameters, f.whole(), arena);
  f.fill_gradients(1);
  optimizer.step(f.parameters, 1e-3, 1.0, 1, f.stream);
  const auto elements = static_cast<size_t>(f.parameters.elements());
  for (const Tensor& buffer : {f.parameters.values(), optimizer.first_moment(), optimizer.second_moment()})
    for (const float value : buffer.values<float>().subspan(elements)) ASSERT_EQ(value, 0.0f);
}

TEST(AdamW, MeasuringCountsBothMoments) {
  Fixture f;
  Arena arena = Arena::measuring("moments");
  AdamW optimizer({}, f.parameters, f.whole(), arena);
  EXPECT_EQ(arena.used_bytes(), static_cast<size_t>(f.parameters.padded_elements()) * 8);
}

// Weight 5 is grown after 40 updates; gradients are constant.
TEST(AdamW, AGrownWeightCountsItsOwnUpdates) {
  Fixture f;
  Arena arena = moments_arena(f.whole());
  AdamW optimizer({.beta2 = 0.999, .weight_decay = 0}, f.parameters, f.whole(), arena);
  std::fill_n(f.parameters.gradients().as<float>(), f.parameters.elements(), 2.0f);
  for (int64_t t = 1; t <= 40; ++t) optimizer.step(f.parameters, 1e-3, 1.0, t, f.stream);
  WeightAges ages{std::vector<uint16_t>(static_cast<size_t>(f.parameters.padded_elements())), {0, 40}};
  ages.generation[5] = 1;
  optimizer.set_ages(ages);
  for (const Tensor& buffer : {f.parameters.values(), optimizer.first_moment(), optimizer.second_moment()})
    buffer.as<float>()[5] = 0.0f;
  for (int64_t t = 41; t <= 43; ++t) {
    const float before = f.values()[5];
    optimizer.step(f.parameters, 1e-3, 1.0, t, f.stream);
    EXPECT_NEAR(before - f.values()[5], 1e-3f, 1e-8f) << t;
  }
}

TEST(AdamW, AgesOfOneGenerationGiveTheBitsOfNone) {
  Fixture plain, aged;
  Arena plain_arena = moments_arena(plain.whole()), aged_arena = moments_arena(aged.whole());
  AdamW without({}, plain.parameters, plain.whole(), plain_arena);
  AdamW with({}, aged.parameters, aged.whole(), aged_arena);
  with.set_ages({std::vector<uint16_t>(static_cast<size_t>(aged.parameters.padded_elements())), {0}});
  for (int64_t t = 1; t <= 3; ++t) {
    plain.fill_gradients(t);
    aged.fill_gradients(t);
    without.step(plain.parameters, 1e-3, 0.7, t, plain.stream);
    with.step(aged.parameters, 1e-3, 0.7, t, aged.stream);
  }
  EXPECT_EQ(plain.values(), aged.values());
}

TEST(AdamW, RefusesAgesThatDoNotFit) {
  Fixture f;
  Arena arena = moments_arena(f.whole());
  AdamW optimizer({}, f.parameters, f.whole(), arena);
  EXPECT_THROW(optimizer.set_ages({std::vector<uint16_t>(3), {0}}), Error);
  std::vector<uint16_t> generation(static_cast<size_t>(f.parameters.padded_elements()));
  generation[7] = 1;
  EXPECT_THROW(optimizer.set_ages({generation, {0}}), Error);
}

TEST(AdamW, RefusesSettingsThatCannotBe) {
  validate(AdamWConfig{});
  EXPECT_THROW(validate(AdamWConfig{.beta1 = 1.0}), Error);
  EXPECT_THROW(validate(AdamWConfig{.beta2 = -0.1}), Error);
  EXPECT_THROW(validate(AdamWConfig{.epsilon = 0}), Error);
  EXPECT_THROW(validate(AdamWConfig{.weight_decay = -1}), Error);
}

}  // namespace
}  // namespace fern
