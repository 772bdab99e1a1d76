#include "framework/checkpoint/hugging_face_family.h"

#include <algorithm>
#include <span>

#include "framework/core/error.h"
#include "framework/layers/moe.h"

namespace fern {

namespace {

// Why experts are chosen by more than their probabilities.
std::string bias_text(const RoutingState& routing, const char* family) {
  for (int64_t layer = 0; layer < routing.layers(); ++layer) {
    const std::span<const double> bias_E = routing.bias_E(layer);
    const auto there = std::ranges::find_if(bias_E, [](double bias) { return bias != 0; });
    if (there != bias_E.end())
      return fmt::format(
          "model.experts.bias_rate: expert {} of layer {} competes with {} more than its probability, which "
          "{} cannot; train with bias_rate = 0 (balance_loss balances as well)",
          there - bias_E.begin(), layer, *there, family);
  }
  return "";
}

std::string why_not_mixtral(const ExpertConfig& experts) {
  if (experts.router != RouterKind::kMixtral)
    return fmt::format(
        "model.experts.router = \"{}\": Mixtral divides the gates of a token's experts by their sum; only "
        "\"mixtral\" can be exported, or, with model.qk_norm = true, either, as Qwen3-MoE",
        name_of(experts.router));
  if (experts.every > 1)
    return fmt::format(
        "model.experts.every = {}: Mixtral has experts in every layer; only 1 can be exported, or, with "
        "model.qk_norm = true, any, as Qwen3-MoE",
        experts.every);
  return "";
}

}  // namespace

const HuggingFaceFamily& family_of(const ModelConfig& config) {
  return *std::ranges::find_if(kHuggingFaceFamilies, [&](const HuggingFaceFamily& family) {
    return family.qk_norm == config.qk_norm && family.experts == (config.experts.count > 0);
  });
}

std::string why_not_hugging_face(const ModelConfig& config, const RoutingState& routing) {
  const ExpertConfig& experts = config.experts;
  if (experts.count == 0) return "";
  const char* family = family_of(config).name;
  if (experts.shared > 0)
    return fmt::format("model.experts.shared = {}: {} has no shared experts; only 0 can be exported",
                       experts.shared, family);
  if (may_drop(experts))
    return fmt::format(
        "model.experts.capacity_factor = {}: {} drops no token; only 0, or count / active ({}) and more, "
        "which drop none, can be exported",
        experts.capacity_factor, family,
        static_cast<double>(experts.count) / static_cast<double>(experts.active));
  const std::string reason = config.qk_norm ? "" : why_not_mixtral(experts);
  return reason.empty() ? bias_text(routing, family) : reason;
}

}  // namespace fern
