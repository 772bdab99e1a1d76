#include "framework/train/expert_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace fern {

namespace {

double ratio(double part, double whole) { return whole == 0 ? 0 : part / whole; }

}  // namespace

ExpertUse use_of(std::vector<double> chosen_E, double tokens, double dropped, double entropy_sum) {
  const double all = std::accumulate(chosen_E.begin(), chosen_E.end(), 0.0);
  double load_entropy = 0;
  for (const double chosen : chosen_E)
    if (chosen > 0) load_entropy -= chosen / all * std::log(chosen / all);
  const double most = *std::ranges::max_element(chosen_E);
  const auto experts = static_cast<double>(chosen_E.size());
  return {.tokens = tokens,
          .chosen_E = std::move(chosen_E),
          .dropped_share = ratio(dropped, all),
          .entropy = ratio(entropy_sum, tokens),
          .effective = all == 0 ? 0 : std::exp(load_entropy),
          .max_over_mean = ratio(most * experts, all),
          .collapsed = false};
}

ExpertMetrics expert_metrics(const RoutingCounts& counts, const ModelConfig& config, int64_t steps) {
  ExpertMetrics metrics{.steps = steps, .layers = {}};
  for (int64_t m = 0; m < counts.layers(); ++m) {
    LayerUse layer{.layer = (m + 1) * config.experts.every - 1, .all = {}, .languages = {}};
    double tokens = 0, dropped = 0, entropy = 0;
    for (int64_t l = 0; l < counts.languages(); ++l) {
      const auto chosen_E = counts.chosen_E(m, l);
      layer.languages.push_back(use_of({chosen_E.begin(), chosen_E.end()}, counts.tokens(m, l),
                                       counts.dropped(m, l), counts.entropy_sum(m, l)));
      tokens += counts.tokens(m, l);
      dropped += counts.dropped(m, l);
      entropy += counts.entropy_sum(m, l);
    }
    layer.all = use_of(counts.chosen_by_all_E(m), tokens, dropped, entropy);
    metrics.layers.push_back(std::move(layer));
  }
  return metrics;
}

}  // namespace fern
