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

// Ends of the parts when each takes layers up to `most` FLOPs; empty where that does not do. Later parts
// take as many as they can, each at least one.
std::vector<int64_t> ends_within(const ModelConfig& config, int64_t parts, double most) {
  std::vector<int64_t> ends(static_cast<size_t>(parts));
  int64_t end = config.layers;
  for (int64_t part = parts; part-- > 0;) {
    ends[static_cast<size_t>(part)] = end;
    int64_t first = end - 1;
    if (first < 0 || flops_between(config, first, end) > most) return {};
    while (first > part && flops_between(config, first - 1, end) <= most) --first;
    end = first;
  }
  return end == 0 ? ends : std::vector<int64_t>();
}

}  // namespace

std::vector<ModelPart> split_layers(const ModelConfig& config, int64_t parts) {
  double too_few = 0, enough = flops_between(config, 0, config.layers);
  for (int halving = 0; halving < 64; ++halving) {
    const double middle = (too_few + enough) / 2;
    (ends_within(config, parts, middle).empty() ? too_few : enough) = middle;
  }
  const std::vector<int64_t> ends = ends_within(config, parts, enough);
  std::vector<ModelPart> split;
  for (const int64_t end : ends) split.push_back({split.empty() ? 0 : split.back().last_layer, end});
  return split;
}

std::vector<ModelPart> parts_of_stage(const ModelConfig& config, const Mesh& mesh, int64_t stage) {
  const std::vector<ModelPart> all = split_layers(config, mesh.pipeline * mesh.virtual_stages);
  std::vector<ModelPart> parts;
  for (int64_t i = 0; i < mesh.virtual_stages; ++i)
    parts.push_back(all[static_cast<size_t>(i * mesh.pipeline + stage)]);
  return parts;
}

double flops_of_part(const ModelConfig& config, const ModelPart& part) {
  return flops_between(config, part.first_layer, std::min(part.last_layer, config.layers));
}

}  // namespace fern
