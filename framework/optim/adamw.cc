#include "framework/optim/adamw.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/core/error.h"
#include "framework/core/profile.h"

namespace fern {

namespace {

struct Factors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float scale;  // of gradients
  float epsilon;
};

Factors factors(const AdamWConfig& config, double scale) {
  return {.beta1 = static_cast<float>(config.beta1),
          .one_minus_beta1 = static_cast<float>(1 - config.beta1),
          .beta2 = static_cast<float>(config.beta2),
          .one_minus_beta2 = static_cast<float>(1 - config.beta2),
          .scale = static_cast<float>(scale),
          .epsilon = static_cast<float>(config.epsilon)};
}

// Learning rate / (1 - beta1^t) and 1 / sqrt(1 - beta2^t) of every element.
struct OneAge {
  float step_size_of_all, inverse_correction2_of_all;
  float step_size(int64_t) const { return step_size_of_all; }
  float inverse_correction2(int64_t) const { return inverse_correction2_of_all; }
};
// The same by the generation of each.
struct OwnAges {
  const uint16_t* generation;
  const float *step_sizes, *inverse_corrections2;
  float step_size(int64_t i) const { return step_sizes[generation[i]]; }
  float inverse_correction2(int64_t i) const { return inverse_corrections2[generation[i]]; }
};

// Every multiply-add is written as fma: left to the compiler, a vector body and its scalar rest could round
// differently, and the result would depend on where a slice begins.
template <typename Ages>
void update_block(float* __restrict p, float* __restrict m, float* __restrict v, const float* __restrict g,
                  int64_t elements, const Factors& f, float keep, Ages age) {
#pragma omp simd
  for (int64_t i = 0; i < elements; ++i) {
    const float gradient = f.scale * g[i];
    m[i] = std::fma(f.beta1, m[i], f.one_minus_beta1 * gradient);
    v[i] = std::fma(f.beta2, v[i], (f.one_minus_beta2 * gradient) * gradient);
    const float denominator = std::fma(std::sqrt(v[i]), age.inverse_correction2(i), f.epsilon);
    p[i] = std::fma(-age.step_size(i), m[i] / denominator, p[i] * keep);
  }
}

}  // namespace

void validate(const AdamWConfig& config) {
  for (const double beta : {config.beta1, config.beta2})
    if (!(beta >= 0 && beta < 1))
      fail_usage("optimizer: expected betas of at least 0 and below 1, got {}", beta);
  if (!(std::isfinite(config.epsilon) && config.epsilon > 0))
    fail_usage("optimizer: expected an epsilon above 0, got {}; 1e-8 is usual", config.epsilon);
  if (!(std::isfinite(config.weight_decay) && config.weight_decay >= 0))
    fail_usage("optimizer: expected a weight decay of 0 or more, got {}", config.weight_decay);
}

AdamW::AdamW(const AdamWConfig& config, const Parameters& parameters, Slices slices, Arena& arena)
    : config_(config) {
  validate(config);
  m_room_ = arena.allocate(DType::kF32, {slices.elements()});
  v_room_ = arena.allocate(DType::kF32, {slices.elements()});
  set_layout(parameters, std::move(slices));
}

void AdamW::set_layout(const Parameters& parameters, Slices slices) {
  for (const Slice& slice : slices.list())
    expect(0 <= slice.begin && slice.end <= parameters.padded_elements(),
           "[adamw] expected slices within [0, {}), got [{}, {})", parameters.padded_elements(), slice.begin,
           slice.end);
  const int64_t elements = slices.elements();
  expect(elements <= m_room_.elements(), "[adamw] expected slices of at most {} elements, got {}",
         m_room_.elements(), elements);
  slices_ = std::move(slices);
  m_ = m_room_.rows(0, elements);
  v_ = v_room_.rows(0, elements);
  blocks_.clear();
  cut_into_blocks(parameters);
}

void AdamW::set_ages(WeightAges ages) {
  const auto elements = static_cast<int64_t>(ages.generation.size());
  expect(elements == 0 || elements >= slices_.end(),
         "[adamw] expected a generation for each of {} elements or more, got {}", slices_.end(), elements);
  const uint16_t last = elements == 0 ? uint16_t{0} : *std::ranges::max_element(ages.generation);
  expect(last < ages.births.size(), "[adamw] expected generations below {}, got {}", ages.births.size(),
         last);
  ages_ = std::move(ages);
  step_size_.resize(ages_.births.size());
  inverse_correction2_.resize(ages_.births.size());
}

float AdamW::decay_of(ParameterKind kind) const {
  const bool decays = kind == ParameterKind::kMatrix || kind == ParameterKind::kRouter ||
                      (kind == ParameterKind::kNorm && config_.decay_norms) ||
                      (kind == ParameterKind::kEmbedding && config_.decay_embeddings);
  return decays ? static_cast<float>(config_.weight_decay) : 0.0f;
}

void AdamW::cut_into_blocks(const Parameters& parameters) {
  for (const Parameter& parameter : parameters.list())
    slices_.for_each_in({parameter.offset, parameter.offset + parameter.elements()},
                        [&](Slice kept, int64_t first) {
                          for (int64_t begin = kept.begin; begin < kept.end; begin += kParameterChunk)
                            blocks_.push_back({{begin, std::min(kept.end, begin + kParameterChunk)},
                                               first + begin - kept.begin,
                                               decay_of(parameter.kind)});
                        });
}

void AdamW::step(Parameters& parameters, double learning_rate, double scale, int64_t update, Stream& stream) {
  expect(update >= 1, "[adamw] expected updates counted from 1, got {}", update);
  const auto elements = static_cast<double>(slices_.elements());
  const OpTimer timer(stream, "adamw", {.flops = 15 * elements, .bytes = 28 * elements});
  const Factors f = factors(config_, scale);
  for (size_t g = 0; g < ages_.births.size(); ++g) {
    const auto age = static_cast<double>(update - ages_.births[g]);
    step_size_[g] = static_cast<float>(learning_rate / (1 - std::pow(config_.beta1, age)));
    inverse_correction2_[g] = static_cast<float>(1 / std::sqrt(1 - std::pow(config_.beta2, age)));
  }
  float* p = parameters.values().as<float>();
  const float* g = parameters.gradients().as<float>();
  float* m = m_.as<float>();
  float* v = v_.as<float>();
#pragma omp parallel for schedule(static)
  for (size_t b = 0; b < blocks_.size(); ++b) {
    const auto [begin, end] = blocks_[b].elements;
    const float keep = static_cast<float>(1 - learning_rate * static_cast<double>(blocks_[b].decay));
    const int64_t own = blocks_[b].own;
    const auto update_with = [&](auto age) {
      update_block(p + begin, m + own, v + own, g + begin, end - begin, f, keep, age);
    };
    if (ages_.generation.empty())
      update_with(OneAge{step_size_[0], inverse_correction2_[0]});
    else
      update_with(OwnAges{ages_.generation.data() + begin, step_size_.data(), inverse_correction2_.data()});
  }
  parameters.note_change();
}

}  // namespace fern
