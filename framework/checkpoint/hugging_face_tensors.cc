#include "framework/checkpoint/hugging_face_tensors.h"

#include <fmt/format.h>

#include <initializer_list>
#include <optional>

namespace fern {

namespace {

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

// "model.layers.1" of "model.layers.1.mlp.gate.weight" with the rest ".mlp.gate.weight".
std::optional<std::string> before(const std::string& tensor, std::string_view rest) {
  if (!tensor.ends_with(rest)) return std::nullopt;
  return tensor.substr(0, tensor.size() - rest.size());
}

}  // namespace

TensorContents contents_of(const Parameters& parameters, const std::string& tensor) {
  TensorContents own = whole(parameters, tensor);
  if (!own.parameters.empty()) return own;
  constexpr const char* kBranch = ".block_sparse_moe";
  if (const auto layer = before(tensor, ".mlp.gate.weight"))
    return whole(parameters, *layer + kBranch + ".gate.weight");
  if (const auto layer = before(tensor, ".mlp.experts.gate_up_proj"))
    return stacked(parameters, *layer + kBranch, {"w1", "w3"});
  if (const auto layer = before(tensor, ".mlp.experts.down_proj"))
    return stacked(parameters, *layer + kBranch, {"w2"});
  return {};
}

}  // namespace fern
