#include "parallel/layer_split.h"

#include <algorithm>

#include "framework/model/transformer.h"

namespace fern {

namespace {

// FLOPs of layers [first, last), and of the head after the last.
double flops_between(const ModelConfig& config, int64_t first, int64_t last) {
  ModelConfig part = config;
  const auto flops_of_first = [&](int64_t layers) {
    part.layers = layers;
    return training_flops_per_token(part, config.context);
  };
  const double without_layers = flops_of_first(0);
  const double head = last == config.layers ? without_layers : 0;
  return flops_of_first(last) - flops_of_first(first) + head;
}

// Ends of the stages when each takes layers up to `most` FLOPs; empty where that does not do. Later stages
// take as many as they can, each at least one.
std::vector<int64_t> ends_within(const ModelConfig& config, int64_t stages, double most) {
  std::vector<int64_t> ends(static_cast<size_t>(stages));
  int64_t end = config.layers;
  for (int64_t stage = stages; stage-- > 0;) {
    ends[static_cast<size_t>(stage)] = end;
    int64_t first = end - 1;
    if (first < 0 || flops_between(config, first, end) > most) return {};
    while (first > stage && flops_between(config, first - 1, end) <= most) --first;
    end = first;
  }
  return end == 0 ? ends : std::vector<int64_t>();
}

}  // namespace

std::vector<ModelPart> split_layers(const ModelConfig& config, int64_t stages) {
  double too_few = 0, enough = flops_between(config, 0, config.layers);
  for (int halving = 0; halving < 64; ++halving) {
    const double middle = (too_few + enough) / 2;
    (ends_within(config, stages, middle).empty() ? too_few : enough) = middle;
  }
  const std::vector<int64_t> ends = ends_within(config, stages, enough);
  std::vector<ModelPart> parts;
  for (const int64_t end : ends) parts.push_back({parts.empty() ? 0 : parts.back().last_layer, end});
  return parts;
}

double flops_of_part(const ModelConfig& config, const ModelPart& part) {
  return flops_between(config, part.first_layer, std::min(part.last_layer, config.layers));
}

double idle_share(const ModelConfig& config, const std::vector<ModelPart>& parts, int64_t micro_batches) {
  double sum = 0, most = 0;
  for (const ModelPart& part : parts) {
    const double flops = flops_of_part(config, part);
    sum += flops;
    most = std::max(most, flops);
  }
  const auto m = static_cast<double>(micro_batches);
  const double duration = sum + (m - 1) * most;
  return 1 - m * sum / (static_cast<double>(parts.size()) * duration);
}

}  // namespace fern
