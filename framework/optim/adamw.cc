#include "framework/optim/adamw.h"

#include <algorithm>
#include <cmath>

#include "framework/core/error.h"
#include "framework/core/profile.h"

namespace fern {

namespace {

struct Factors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float scale;                // of gradients
  float step_size;            // learning rate / (1 - beta1^t)
  float inverse_correction2;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
};

Factors factors(const AdamWConfig& config, double learning_rate, double scale, int64_t update) {
  const double t = static_cast<double>(update);
  return {.beta1 = static_cast<float>(config.beta1),
          .one_minus_beta1 = static_cast<float>(1 - config.beta1),
          .beta2 = static_cast<float>(config.beta2),
          .one_minus_beta2 = static_cast<float>(1 - config.beta2),
          .scale = static_cast<float>(scale),
          .step_size = static_cast<float>(learning_rate / (1 - std::pow(config.beta1, t))),
          .inverse_correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(config.beta2, t))),
          .epsilon = static_cast<float>(config.epsilon)};
}

// Every multiply-add is written as fma: left to the compiler, a vector body and its scalar rest could round
// differently, and the result would depend on where a slice begins.
void update_block(float* __restrict p, float* __restrict m, float* __restrict v, const float* __restrict g,
                  int64_t elements, const Factors& f, float keep) {
#pragma omp simd
  for (int64_t i = 0; i < elements; ++i) {
    const float gradient = f.scale * g[i];
    m[i] = std::fma(f.beta1, m[i], f.one_minus_beta1 * gradient);
    v[i] = std::fma(f.beta2, v[i], (f.one_minus_beta2 * gradient) * gradient);
    const float denominator = std::fma(std::sqrt(v[i]), f.inverse_correction2, f.epsilon);
    p[i] = std::fma(-f.step_size, m[i] / denominator, p[i] * keep);
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

AdamW::AdamW(const AdamWConfig& config, const Parameters& parameters, Slice slice, Arena& arena)
    : config_(config), slice_(slice) {
  validate(config);
  expect(0 <= slice.begin && slice.begin <= slice.end && slice.end <= parameters.padded_elements(),
         "[adamw] expected a slice within [0, {}), got [{}, {})", parameters.padded_elements(), slice.begin,
         slice.end);
  cut_into_blocks(parameters);
  m_ = arena.allocate(DType::kF32, {slice.elements()});
  v_ = arena.allocate(DType::kF32, {slice.elements()});
}

float AdamW::decay_of(ParameterKind kind) const {
  const bool decays = kind == ParameterKind::kMatrix ||
                      (kind == ParameterKind::kNorm && config_.decay_norms) ||
                      (kind == ParameterKind::kEmbedding && config_.decay_embeddings);
  return decays ? static_cast<float>(config_.weight_decay) : 0.0f;
}

void AdamW::cut_into_blocks(const Parameters& parameters) {
  for (const Parameter& parameter : parameters.list()) {
    const int64_t end = std::min(slice_.end, parameter.offset + parameter.elements());
    for (int64_t begin = std::max(slice_.begin, parameter.offset); begin < end; begin += kParameterChunk)
      blocks_.push_back({{begin, std::min(end, begin + kParameterChunk)}, decay_of(parameter.kind)});
  }
}

void AdamW::step(Parameters& parameters, double learning_rate, double scale, int64_t update, Stream& stream) {
  expect(update >= 1, "[adamw] expected updates counted from 1, got {}", update);
  const auto elements = static_cast<double>(slice_.elements());
  const OpTimer timer(stream, "adamw", {.flops = 15 * elements, .bytes = 28 * elements});
  const Factors f = factors(config_, learning_rate, scale, update);
  float* p = parameters.values().as<float>();
  const float* g = parameters.gradients().as<float>();
  float* m = m_.as<float>();
  float* v = v_.as<float>();
#pragma omp parallel for schedule(static)
  for (size_t b = 0; b < blocks_.size(); ++b) {
    const auto [begin, end] = blocks_[b].elements;
    const float keep = static_cast<float>(1 - learning_rate * static_cast<double>(blocks_[b].decay));
    const int64_t own = begin - slice_.begin;
    update_block(p + begin, m + own, v + own, g + begin, end - begin, f, keep);
  }
  parameters.note_change();
}

}  // namespace fern
