#include "framework/train/collapse.h"

#include <numeric>

#include "framework/core/error.h"

namespace fern {

namespace {

constexpr double kLow = 0.1, kHigh = 0.5;  // shares of the way from K to E

double between(const ExpertConfig& config, double share) {
  return static_cast<double>(config.active) + share * static_cast<double>(config.count - config.active);
}

}  // namespace

CollapseWatch::CollapseWatch(const ExpertConfig& config, int64_t layers, int64_t languages)
    : low_(between(config, kLow)),
      high_(between(config, kHigh)),
      least_tokens_(kLeastTokens * static_cast<double>(config.count)),
      languages_(languages),
      streaks_(static_cast<size_t>(layers * languages)) {}

void CollapseWatch::add(ExpertMetrics& metrics) {
  for (size_t m = 0; m < metrics.layers.size(); ++m) {
    LayerUse& layer = metrics.layers[m];
    for (size_t l = 0; l < layer.languages.size(); ++l) {
      ExpertUse& use = layer.languages[l];
      int64_t& streak = streaks_[m * layer.languages.size() + l];
      const bool had_collapsed = streak >= kIntervals;
      if (use.tokens >= least_tokens_) {
        const bool low = use.effective < low_ && layer.all.effective > high_;
        const bool recovered = use.effective > high_ || layer.all.effective <= high_;
        if (recovered && (had_collapsed || streak < 0))
          streak = kRecovered;
        else if (had_collapsed || (streak < 0 && low))
          streak = kIntervals;
        else if (streak < 0)
          streak = kInCare;
        else
          streak = low ? streak + 1 : 0;
      }
      use.collapsed = streak >= kIntervals;
    }
  }
}

void CollapseWatch::correct(RoutingState& state, const RoutingCounts& counts) const {
  for (int64_t m = 0; m < state.layers(); ++m)
    for (int64_t l = 0; l < languages_; ++l) {
      const auto chosen_E = counts.chosen_E(m, l);
      const auto correction_E = state.correction_E(m, l);
      const double mean =
          std::accumulate(chosen_E.begin(), chosen_E.end(), 0.0) / static_cast<double>(chosen_E.size());
      for (size_t e = 0; e < chosen_E.size(); ++e) {
        if (!has_collapsed(m, l) && streak(m, l) != kInCare)
          correction_E[e] -= kFading * correction_E[e];
        else if (chosen_E[e] != mean)
          correction_E[e] += chosen_E[e] < mean ? kCorrection : -kCorrection;
      }
    }
}

void CollapseWatch::restore(std::vector<int64_t> streaks) {
  expect(streaks.size() == streaks_.size(), "[collapse] expected {} numbers, got {}", streaks_.size(),
         streaks.size());
  streaks_ = std::move(streaks);
}

}  // namespace fern
