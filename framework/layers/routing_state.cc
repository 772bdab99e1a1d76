#include "framework/layers/routing_state.h"

#include <algorithm>
#include <cmath>

namespace fern {

namespace {

constexpr double kEntropyUnit = 1e-6;  // nats

}  // namespace

RoutingState::RoutingState(const ModelConfig& config)
    : layers_(config.expert_layers()),
      experts_(config.experts.count),
      bias_(std::make_unique<double[]>(static_cast<size_t>(layers_ * experts_))),
      share_(std::make_unique<double[]>(static_cast<size_t>(layers_ * experts_))) {
  std::fill_n(share_.get(), layers_ * experts_, layers_ > 0 ? 1 / static_cast<double>(experts_) : 0.0);
}

void RoutingState::set_languages(int64_t languages) {
  correction_ = std::make_unique<double[]>(static_cast<size_t>(layers_ * languages * experts_));
  languages_ = languages;
}

Tensor RoutingState::correction_LE(int64_t layer) const {
  return languages_ == 0 ? Tensor() : Tensor::of(correction_E(layer, 0).data(), {languages_, experts_});
}

ExpertMemory RoutingState::memory() const {
  ExpertMemory memory;
  const auto append = [](std::vector<double>& to, std::span<const double> from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (int64_t layer = 0; layer < layers_; ++layer) {
    append(memory.share, share_E(layer));
    append(memory.bias, bias_E(layer));
    for (int64_t l = 0; l < languages_; ++l) append(memory.correction, correction_E(layer, l));
  }
  return memory;
}

void RoutingState::restore(const ExpertMemory& memory) {
  const auto size = static_cast<size_t>(layers_ * experts_), languages = static_cast<size_t>(languages_);
  const bool knows_languages = languages_ > 0 && !memory.correction.empty();
  expect(
      memory.share.size() == size && memory.bias.size() == size &&
          (!knows_languages || memory.correction.size() == size * languages),
      "[routing_state] expected shares and biases of {} layers x {} experts and corrections of {} languages, "
      "got {}, {} and {} numbers",
      layers_, experts_, languages_, memory.share.size(), memory.bias.size(), memory.correction.size());
  std::ranges::copy(memory.share, share_.get());
  std::ranges::copy(memory.bias, bias_.get());
  if (knows_languages) std::ranges::copy(memory.correction, correction_.get());
}

RoutingCounts::RoutingCounts(int64_t layers, int64_t experts, int64_t languages)
    : layers_(layers),
      experts_(experts),
      languages_(languages),
      all_(static_cast<size_t>(layers * languages) * entry_size()) {}

RouterLosses RoutingRecord::sum_of_losses() const {
  RouterLosses sum;
  for (const RouterLosses& layer : losses) {
    sum.balance += layer.balance;
    sum.z += layer.z;
  }
  return sum;
}

void RoutingCounts::clear() { std::ranges::fill(all_, 0.0); }

void RoutingCounts::add(const RoutingCounts& other) {
  expect(all_.size() == other.all_.size(), "[routing_counts] expected {} counts, got {}", all_.size(),
         other.all_.size());
  for (size_t i = 0; i < all_.size(); ++i) all_[i] += other.all_[i];
}

std::vector<double> RoutingCounts::chosen_by_all_E(int64_t layer) const {
  std::vector<double> sum(static_cast<size_t>(experts_));
  for (int64_t l = 0; l < languages_; ++l) {
    const auto chosen = chosen_E(layer, l);
    for (size_t e = 0; e < sum.size(); ++e) sum[e] += chosen[e];
  }
  return sum;
}

void RoutingCounts::add(int64_t layer, const Routing& routing, const TokenPermutation& permutation,
                        const Tensor& language_T) {
  const int64_t active = routing.expert_TK.dim(1);
  const int32_t *language = language_T.as<int32_t>(), *expert = routing.expert_TK.as<int32_t>(),
                *row = permutation.row_TK.as<int32_t>();
  with_wide_type("routing_counts", routing.entropy_T.dtype(), [&]<typename T>() {
    const T* entropy = routing.entropy_T.as<T>();
    for (int64_t t = 0; t < language_T.dim(0); ++t) {
      if (language[t] < 0) continue;
      expect(language[t] < languages_, "[routing_counts] language[{}]: expected 0 to {}, got {}", t,
             languages_ - 1, language[t]);
      double* counts = all_.data() + begin_of(layer, language[t]);
      for (int64_t i = t * active; i < (t + 1) * active; ++i) {
        counts[expert[i]] += 1;
        counts[experts_] += row[i] < 0;
      }
      counts[experts_ + 1] += 1;
      if (std::isfinite(entropy[t]))
        counts[experts_ + 2] += std::round(static_cast<double>(entropy[t]) / kEntropyUnit);
    }
  });
}

std::span<const double> RoutingCounts::chosen_E(int64_t layer, int64_t language) const {
  return std::span(all_).subspan(begin_of(layer, language), static_cast<size_t>(experts_));
}

double RoutingCounts::dropped(int64_t layer, int64_t language) const {
  return all_[begin_of(layer, language) + static_cast<size_t>(experts_)];
}

double RoutingCounts::tokens(int64_t layer, int64_t language) const {
  return all_[begin_of(layer, language) + static_cast<size_t>(experts_) + 1];
}

double RoutingCounts::entropy_sum(int64_t layer, int64_t language) const {
  return all_[begin_of(layer, language) + static_cast<size_t>(experts_) + 2] * kEntropyUnit;
}

}  // namespace fern
