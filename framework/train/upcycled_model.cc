#include "framework/train/upcycled_model.h"

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "framework/core/error.h"
#include "framework/layers/moe.h"
#include "framework/model/whole_matrix.h"

namespace fern {

std::string dense_name(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kMatrices = {
      {{".w1.weight", "gate_proj"}, {".w3.weight", "up_proj"}, {".w2.weight", "down_proj"}}};
  const size_t branch = name.find(".block_sparse_moe.experts.");
  if (branch == std::string::npos) return name;
  for (const auto& [of_expert, dense] : kMatrices)
    if (name.ends_with(of_expert)) return fmt::format("{}.mlp.{}.weight", name.substr(0, branch), dense);
  return name;
}

void upcycle(Parameters& to, const Parameters& from) {
  std::vector<float> whole;
  for (size_t i = 0; i < to.list().size(); ++i) {
    const Parameter& parameter = to.list()[i];
    if (parameter.kind == ParameterKind::kRouter) continue;
    const int source = from.find(dense_name(parameter.name));
    expect(source >= 0, "[upcycle] the dense model has no '{}', as '{}' would begin",
           dense_name(parameter.name), parameter.name);
    whole.resize(static_cast<size_t>(parameter.shape.elements()));
    write_whole(whole, from, source);
    take_whole(to, static_cast<int>(i), whole);
  }
  to.note_change();
}

std::string why_less_than_dense(const ModelConfig& config) {
  const ExpertConfig& experts = config.experts;
  if (experts.router == RouterKind::kSwitch && experts.active < experts.count)
    return fmt::format(
        "model.experts.router = \"switch\": the gates of a token's {} experts sum to less than 1 "
        "(\"mixtral\" "
        "divides them by their sum)",
        experts.active);
  if (may_drop(experts))
    return fmt::format(
        "model.experts.capacity_factor = {}: tokens that an expert has no room for get nothing from it (0 "
        "drops "
        "none)",
        experts.capacity_factor);
  return "";
}

void expect_upcyclable(const ModelConfig& config) {
  const ExpertConfig& experts = config.experts;
  if (config.expert_ffn() != config.ffn)
    fail_usage(
        "model.experts.ffn = {}: experts that begin as copies of the dense feed-forwards of model.weights "
        "are "
        "as wide as these; expected {} (model.ffn), or 0 for the same",
        experts.ffn, config.ffn);
  if (experts.shared > 0)
    fail_usage(
        "model.experts.shared = {}: where experts begin as copies of the dense feed-forwards of "
        "model.weights, "
        "shared ones would come on top; expected 0",
        experts.shared);
}

}  // namespace fern
