#include "framework/checkpoint/tensor_hash.h"

#include "framework/checkpoint/checkpoint.h"

namespace fern {

void feed_header(Xxh128& hash, const Parameter& parameter) {
  hash.update(parameter.name.c_str(), parameter.name.size() + 1);
  const std::vector<int64_t> dims = dims_of(parameter.shape);
  const auto rank = static_cast<int64_t>(dims.size());
  hash.update(&rank, sizeof rank);
  hash.update(dims.data(), dims.size() * sizeof(int64_t));
}

std::vector<int64_t> dims_of_values(const Parameter& parameter) {
  return parameter.sparse ? std::vector<int64_t>{parameter.nonzeros} : dims_of(parameter.shape);
}

std::vector<int64_t> dims_of(const Shape& shape) {
  std::vector<int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

std::span<const float> part_of(std::span<const float> flat, const Parameter& parameter) {
  return flat.subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.elements()));
}
std::span<float> part_of(std::span<float> flat, const Parameter& parameter) {
  return flat.subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.elements()));
}

std::string weights_hash(const Parameters& parameters) {
  Xxh128 hash;
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const Tensor value = parameters.value(static_cast<int>(i));
    feed_header(hash, parameters.list()[i]);
    hash.update(value.data(), value.bytes());
  }
  return hash.hex();
}

}  // namespace fern
