#include "framework/model/parameters.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "framework/core/hash.h"
#include "framework/core/rng.h"

namespace fern {

namespace {

constexpr int64_t kNormalsPerBlock = 4;

// Four standard normals from one block of random bits: Box-Muller twice, sine and cosine each.
void standard_normals(double (&normals)[kNormalsPerBlock], uint64_t seed, uint64_t key, uint32_t block) {
  const auto bits = random_bits(seed, Purpose::kInitialWeights, key, block);
  for (size_t pair = 0; pair < 2; ++pair) {
    const double u = (static_cast<double>(bits[2 * pair]) + 0.5) * 0x1.0p-32;
    const double angle = 2 * std::numbers::pi * static_cast<double>(bits[2 * pair + 1]) * 0x1.0p-32;
    const double radius = std::sqrt(-2.0 * std::log(u));
    normals[2 * pair] = radius * std::cos(angle);
    normals[2 * pair + 1] = radius * std::sin(angle);
  }
}

template <typename T>
void fill_normal(std::span<T> values, double std, uint64_t seed, uint64_t key) {
  const auto size = static_cast<int64_t>(values.size());
#pragma omp parallel for schedule(static)
  for (int64_t begin = 0; begin < size; begin += kNormalsPerBlock) {
    double normals[kNormalsPerBlock];
    standard_normals(normals, seed, key, static_cast<uint32_t>(begin / kNormalsPerBlock));
    for (int64_t i = begin; i < std::min(size, begin + kNormalsPerBlock); ++i)
      values[static_cast<size_t>(i)] = static_cast<T>(std * normals[i - begin]);
  }
}

uint64_t key_of(const std::string& name) {
  return std::stoull(xxh128_hex(name.data(), name.size()).substr(0, 16), nullptr, 16);
}

Tensor part(const Tensor& flat, DType dtype, int64_t offset, Shape shape) {
  if (flat.empty()) return Tensor(nullptr, dtype, shape, flat.device());
  auto* data = static_cast<std::byte*>(flat.data()) + static_cast<size_t>(offset) * size_of(dtype);
  return Tensor(data, dtype, shape, flat.device());
}

}  // namespace

int Parameters::add(std::string name, Shape shape, ParameterKind kind, double initial_std) {
  expect(values_.shape().rank() == 0, "[parameters] '{}' comes after allocate()", name);
  expect(find(name) < 0, "[parameters] '{}' is there already", name);
  expect(shape.elements() >= 1 && shape.elements() / kNormalsPerBlock <= UINT32_MAX,
         "[parameters] '{}': {} is too large for one parameter", name, shape.to_string());
  list_.push_back({std::move(name), shape, kind, initial_std, elements_});
  elements_ += shape.elements();
  return static_cast<int>(list_.size()) - 1;
}

void Parameters::allocate(Arena& arena, DType dtype) {
  values_ = arena.allocate(dtype, {padded_elements()});
  gradients_ = arena.allocate(dtype, {padded_elements()});
}

void Parameters::initialize(uint64_t seed) {
  for (size_t i = 0; i < list_.size(); ++i) {
    const Parameter& parameter = list_[i];
    with_wide_type("parameters", values_.dtype(), [&]<typename T>() {
      const std::span<T> values = value(static_cast<int>(i)).values<T>();
      if (parameter.kind == ParameterKind::kNorm)
        std::fill(values.begin(), values.end(), T{1});
      else
        fill_normal(values, parameter.initial_std, seed, key_of(parameter.name));
    });
  }
  note_change();
}

int64_t Parameters::padded_elements() const {
  return (elements_ + kParameterChunk - 1) / kParameterChunk * kParameterChunk;
}

Tensor Parameters::value(int index) const {
  const Parameter& parameter = list_[static_cast<size_t>(index)];
  return part(values_, values_.dtype(), parameter.offset, parameter.shape);
}

Tensor Parameters::gradient(int index) const {
  const Parameter& parameter = list_[static_cast<size_t>(index)];
  return part(gradients_, gradients_.dtype(), parameter.offset, parameter.shape);
}

Tensor Parameters::values_of(ParameterRun run) const {
  return part(values_, values_.dtype(), list_[static_cast<size_t>(run.first)].offset, shape_of(run));
}

Tensor Parameters::gradients_of(ParameterRun run) const {
  return part(gradients_, gradients_.dtype(), list_[static_cast<size_t>(run.first)].offset, shape_of(run));
}

int Parameters::find(const std::string& name) const {
  for (size_t i = 0; i < list_.size(); ++i)
    if (list_[i].name == name) return static_cast<int>(i);
  return -1;
}

Shape Parameters::shape_of(ParameterRun run) const {
  const int64_t columns = list_[static_cast<size_t>(run.first)].shape[1];
  int64_t rows = 0;
  for (int i = run.first; i < run.first + run.count; ++i) rows += list_[static_cast<size_t>(i)].shape[0];
  return {rows, columns};
}

}  // namespace fern
