// How experts were used over some steps, by layer and language: what metrics.jsonl says of them.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/layers/routing_state.h"

namespace fern {

// Of the tokens of one language, or of all, in one layer.
struct ExpertUse {
  double tokens = 0;             // whole numbers, as is chosen_E
  std::vector<double> chosen_E;  // how many tokens chose each expert
  double dropped_share = 0;      // of (token, choice) pairs
  double entropy = 0;            // mean over tokens of the entropy of the router's probabilities, nats
  // exp of the entropy of the shares of chosen_E: how many experts are used, were they used evenly. From 1 to
  // E; K when all tokens go to the same K experts.
  double effective = 0;
  double max_over_mean = 0;  // of chosen_E: 1 when even
  bool collapsed = false;    // collapse.h
};
ExpertUse use_of(std::vector<double> chosen_E, double tokens, double dropped, double entropy_sum);

struct LayerUse {
  int64_t layer = 0;  // of the model
  ExpertUse all;
  std::vector<ExpertUse> languages;
};
struct ExpertMetrics {
  int64_t steps = 0;  // that it is about, the last of them this one
  std::vector<LayerUse> layers;
};
ExpertMetrics expert_metrics(const RoutingCounts& counts, const ModelConfig& config, int64_t steps);

}  // namespace fern
