#include "framework/train/expert_balance.h"

#include <numeric>
#include <vector>

namespace fern {

namespace {

double sign(double value) { return value > 0 ? 1 : value < 0 ? -1 : 0; }

}  // namespace

void balance_experts(RoutingState& state, const RoutingCounts& counts, double bias_rate) {
  for (int64_t layer = 0; layer < state.layers(); ++layer) {
    const std::vector<double> chosen_E = counts.chosen_by_all_E(layer);
    const double all = std::accumulate(chosen_E.begin(), chosen_E.end(), 0.0);
    if (all == 0) continue;
    const double mean = all / static_cast<double>(chosen_E.size());
    for (size_t e = 0; e < chosen_E.size(); ++e) {
      state.share_E(layer)[e] = chosen_E[e] / all;
      state.bias_E(layer)[e] += bias_rate * sign(mean - chosen_E[e]);
    }
  }
}

}  // namespace fern
