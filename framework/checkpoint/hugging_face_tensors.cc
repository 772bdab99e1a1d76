#include "framework/checkpoint/hugging_face_tensors.h"

#include <fmt/format.h>

#include <initializer_list>
#include <optional>

namespace fern {

namespace {

// What a family calls the branch of a layer with experts, and the matrices of an expert.
struct ExpertNames {
  std::string_view branch, gate, up, down;
};
constexpr ExpertNames kMixtralNames = {".block_sparse_moe.", ".w1.weight", ".w3.weight", ".w2.weight"};
constexpr ExpertNames kQwenNames = {".mlp.", ".gate_proj.weight", ".up_proj.weight", ".down_proj.weight"};

std::string renamed(std::string name, const ExpertNames& from, const ExpertNames& to) {
  const size_t branch = name.find(from.branch);
  if (branch == std::string::npos) return name;
  name.replace(branch, from.branch.size(), to.branch);
  for (const auto matrix : {&ExpertNames::gate, &ExpertNames::up, &ExpertNames::down})
    if (name.ends_with(from.*matrix)) {
      name.replace(name.size() - (from.*matrix).size(), std::string::npos, to.*matrix);
      break;
    }
  return name;
}

std::vector<int64_t> dims_of(const Shape& shape) {
  std::vector<int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

TensorContents whole(const Parameters& parameters, const std::string& name) {
  const int index = parameters.find(name);
  if (index < 0) return {};
  return {dims_of(parameters.list()[static_cast<size_t>(index)].shape), {index}};
}

// `matrices` of every expert of a branch: w1 and w3, or w2.
TensorContents stacked(const Parameters& parameters, const std::string& branch,
                       std::initializer_list<const char*> matrices) {
  TensorContents contents;
  int64_t experts = 0;
  const auto index_of = [&](const char* matrix) {
    return parameters.find(fmt::format("{}.experts.{}.{}.weight", branch, experts, matrix));
  };
  for (; index_of(*matrices.begin()) >= 0; ++experts)
    for (const char* matrix : matrices) contents.parameters.push_back(index_of(matrix));
  if (experts == 0) return {};
  const ParameterRun of_one = {contents.parameters[0], static_cast<int>(matrices.size())};
  const Shape shape = parameters.shape_of(of_one);
  contents.shape = {experts, shape[0], shape[1]};
  return contents;
}

// "model.layers.1" of "model.layers.1.mlp.experts.down_proj" with the rest ".mlp.experts.down_proj".
std::optional<std::string> before(const std::string& tensor, std::string_view rest) {
  if (!tensor.ends_with(rest)) return std::nullopt;
  return tensor.substr(0, tensor.size() - rest.size());
}

}  // namespace

std::string tensor_name(const std::string& parameter, const HuggingFaceFamily& family) {
  const bool has_others = family.qk_norm && family.experts;
  return has_others ? renamed(parameter, kMixtralNames, kQwenNames) : parameter;
}

TensorContents contents_of(const Parameters& parameters, const std::string& tensor) {
  TensorContents own = whole(parameters, tensor);
  if (!own.parameters.empty()) return own;
  own = whole(parameters, renamed(tensor, kQwenNames, kMixtralNames));
  if (!own.parameters.empty()) return own;
  constexpr const char* kBranch = ".block_sparse_moe";
  if (const auto layer = before(tensor, ".mlp.experts.gate_up_proj"))
    return stacked(parameters, *layer + kBranch, {"w1", "w3"});
  if (const auto layer = before(tensor, ".mlp.experts.down_proj"))
    return stacked(parameters, *layer + kBranch, {"w2"});
  return {};
}

}  // namespace fern
