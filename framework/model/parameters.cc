#include "framework/model/parameters.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "framework/core/hash.h"
#include "framework/core/rng.h"
#include "framework/model/matrix_share.h"
#include "framework/model/whole_matrix.h"
#include "framework/sparsity/for_each_weight.h"

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

// The same normals as fill_normal gives a dense matrix, for the weights that exist here.
template <typename T>
void fill_normal(std::span<T> values, const Pattern& pattern, const Parameter& parameter, uint64_t seed,
                 uint64_t key) {
  const SharePlace here(parameter);
  const double std = parameter.initial_std;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < pattern.block_rows(); ++r) {
    double normals[kNormalsPerBlock];
    int64_t have = -1;
    for_each_weight(pattern, r, r + 1, [&](int64_t row, int64_t column, int64_t value) {
      const int64_t place = here.in_whole(row, column);
      if (place / kNormalsPerBlock != have) {
        have = place / kNormalsPerBlock;
        standard_normals(normals, seed, key, static_cast<uint32_t>(have));
      }
      values[static_cast<size_t>(value)] = static_cast<T>(std * normals[place % kNormalsPerBlock]);
    });
  }
}

// Values first, first + 1, ... of a whole matrix.
template <typename T>
void fill_normal(std::span<T> values, int64_t first, double std, uint64_t seed, uint64_t key) {
  const int64_t end = first + std::ssize(values);
#pragma omp parallel for schedule(static)
  for (int64_t block = first / kNormalsPerBlock; block <= (end - 1) / kNormalsPerBlock; ++block) {
    double normals[kNormalsPerBlock];
    standard_normals(normals, seed, key, static_cast<uint32_t>(block));
    const int64_t begin = block * kNormalsPerBlock;
    for (int64_t i = std::max(first, begin); i < std::min(end, begin + kNormalsPerBlock); ++i)
      values[static_cast<size_t>(i - first)] = static_cast<T>(std * normals[i - begin]);
  }
}

// The part of a whole matrix that is here.
template <typename T>
void fill_normal(std::span<T> values, const Parameter& parameter, uint64_t seed, uint64_t key) {
  for_each_stretch(parameter, [&](int64_t here, int64_t there, int64_t count) {
    fill_normal(values.subspan(static_cast<size_t>(here), static_cast<size_t>(count)), there,
                parameter.initial_std, seed, key);
  });
}

uint64_t key_of(const std::string& name) {
  return std::stoull(xxh128_hex(name.data(), name.size()).substr(0, 16), nullptr, 16);
}

Tensor part(const Tensor& flat, DType dtype, int64_t offset, Shape shape) {
  if (flat.empty()) return Tensor(nullptr, dtype, shape, flat.device());
  auto* data = static_cast<std::byte*>(flat.data()) + static_cast<size_t>(offset) * size_of(dtype);
  return Tensor(data, dtype, shape, flat.device());
}

int64_t whole_chunks(int64_t elements) {
  return (elements + kParameterChunk - 1) / kParameterChunk * kParameterChunk;
}

Shape value_shape(const Parameter& parameter) {
  return parameter.sparse ? Shape{parameter.nonzeros} : parameter.shape;
}

}  // namespace

Shape Parameter::whole_shape() const {
  if (place.whole == 0) return shape;
  if (shape.rank() == 1) return {place.whole};
  return place.dimension == 0 ? Shape{place.whole, shape[1]} : Shape{shape[0], place.whole};
}

int Parameters::add(std::string name, Shape shape, ParameterKind kind, double initial_std, double token_share,
                    const Placement& place) {
  expect(values_.shape().rank() == 0, "[parameters] '{}' comes after allocate()", name);
  expect(find(name) < 0, "[parameters] '{}' is there already", name);
  const bool is_share = place.whole != 0 && shape[place.dimension] != place.whole;
  expect(shape.elements() >= 1, "[parameters] '{}': expected one value at least, got {}", name,
         shape.to_string());
  list_.push_back({.name = std::move(name),
                   .shape = shape,
                   .kind = kind,
                   .initial_std = initial_std,
                   .nonzeros = shape.elements(),
                   .begins_group = std::exchange(begins_group_, false),
                   .token_share = token_share,
                   .place = is_share ? place : Placement{.counted = place.counted}});
  const Parameter& added = list_.back();
  const Shape whole = added.whole_shape();
  expect(whole.elements() / kNormalsPerBlock <= UINT32_MAX,
         "[parameters] '{}': {} is too large for one parameter", added.name, whole.to_string());
  append(list_.size() - 1);
  return static_cast<int>(list_.size()) - 1;
}

void Parameters::begin_own_experts() {
  begin_group();
  own_experts_ = list_.size();
}

void Parameters::add_run(ParameterRun run) {
  if (std::ranges::find(runs_, run) != runs_.end()) return;
  runs_.insert(std::ranges::upper_bound(runs_, run.first, {}, &ParameterRun::first), run);
}

void Parameters::add_product(ParameterRun run) {
  add_run(run);
  products_.push_back(run);
}

bool Parameters::is_multiplied(ParameterRun run) const {
  return std::ranges::find(products_, run) != products_.end();
}

void Parameters::set_patterns(std::vector<SparseRun> sparse) {
  for (SparseRun& each : sparse) {
    const Shape shape = shape_of(each.run);
    expect(each.pattern.rows() == shape[0] && each.pattern.columns() == shape[1],
           "[parameters] '{}': expected a pattern of {}, got one of [{}, {}]",
           list_[static_cast<size_t>(each.run.first)].name, shape.to_string(), each.pattern.rows(),
           each.pattern.columns());
    const auto there = std::ranges::find(sparse_, each.run, &SparseRun::run);
    if (there != sparse_.end())
      there->pattern = std::move(each.pattern);
    else
      sparse_.push_back(std::move(each));
  }
  lay_out();
  ++topology_version_;
  note_change();
}

void Parameters::set_sizes(std::span<const int64_t> nonzeros) {
  expect(nonzeros.size() == list_.size() && sparse_.empty() && values_room_.shape().rank() == 0,
         "[parameters] expected sizes of {} parameters that are elsewhere, got {}", list_.size(),
         nonzeros.size());
  for (const ParameterRun run : runs_) {
    const auto first = list_.begin() + run.first, end = first + run.count;
    const auto sizes = nonzeros.begin() + run.first;
    const bool is_full = std::equal(first, end, sizes, [](const Parameter& parameter, int64_t size) {
      return parameter.shape.elements() == size;
    });
    for (auto parameter = first; parameter != end; ++parameter) {
      parameter->sparse = parameter->sparse || !is_full;
      parameter->nonzeros = sizes[parameter - first];
    }
  }
  lay_out();
}

void Parameters::set_room(std::span<const int64_t> most) {
  expect(most.size() == list_.size() && values_room_.shape().rank() == 0,
         "[parameters] expected sizes of {} parameters before allocate(), got {}", list_.size(), most.size());
  most_.assign(most.begin(), most.end());
  is_settled_ = false;
}

void Parameters::settle() {
  is_settled_ = true;
  lay_out();
}

int64_t Parameters::most_elements(int index) const {
  const auto i = static_cast<size_t>(index);
  return most_.empty() ? list_[i].elements() : most_[i];
}

bool Parameters::is_sparse() const { return std::ranges::any_of(list_, &Parameter::sparse); }

void Parameters::lay_out() {
  for (const SparseRun& each : sparse_) {
    int64_t row = 0;
    for (int i = each.run.first; i < each.run.first + each.run.count; ++i) {
      Parameter& parameter = list_[static_cast<size_t>(i)];
      const int64_t end = row + parameter.shape[0];
      parameter.sparse = true;
      parameter.nonzeros = each.pattern.values_before(end) - each.pattern.values_before(row);
      row = end;
    }
  }
  elements_ = end_ = 0;
  for (size_t i = 0; i < list_.size(); ++i) append(i);
  if (values_room_.shape().rank() == 0) return;
  expect(padded_elements() <= values_room_.elements(),
         "[parameters] expected room for {} values, got {}: patterns have grown since it was taken",
         padded_elements(), values_room_.elements());
  values_ = part(values_room_, values_room_.dtype(), 0, {padded_elements()});
  gradients_ = part(gradients_room_, gradients_room_.dtype(), 0, {padded_elements()});
}

void Parameters::append(size_t index) {
  Parameter& parameter = list_[index];
  if (index == own_experts_)
    end_ = padded(0, index, false);
  else if (parameter.begins_group)
    end_ = whole_chunks(end_);
  parameter.offset = end_;
  end_ += parameter.elements();
  elements_ += parameter.elements();
}

void Parameters::release_values(Slice slice) const {
  if (!kept_values_) return;
  int64_t begin = slice.begin;
  kept_values_->for_each_in(slice, [&](Slice kept, int64_t) {
    release(values_, begin, kept.begin);
    begin = kept.end;
  });
  release(values_, begin, slice.end);
}

void Parameters::release_values(int index) const {
  const Parameter& parameter = list_[static_cast<size_t>(index)];
  release_values({parameter.offset, parameter.offset + parameter.elements()});
}

void Parameters::give_back_unused() const {
  give_back(values_room_, padded_elements());
  give_back(gradients_room_, padded_elements());
}

const Pattern* Parameters::pattern_of(ParameterRun run) const {
  const auto there = std::ranges::find(sparse_, run, &SparseRun::run);
  return there == sparse_.end() ? nullptr : &there->pattern;
}

Pattern Parameters::pattern_of(int index) const {
  for (const auto& [run, pattern] : sparse_) {
    int64_t row = 0;
    for (int i = run.first; i < run.first + run.count; ++i) {
      const int64_t end = row + list_[static_cast<size_t>(i)].shape[0];
      if (i == index) return pattern.slice(row, end);
      row = end;
    }
  }
  fail("[parameters] '{}' has no pattern", list_[static_cast<size_t>(index)].name);
}

void Parameters::allocate(Arena& values, Arena& gradients, DType dtype) {
  values_ = values_room_ = values.allocate(dtype, {padded_elements()});
  gradients_ = gradients_room_ = gradients.allocate(dtype, {padded_elements()});
}

void Parameters::allocate_dense_room(Arena& arena, std::span<const ParameterRun> runs) {
  int64_t most = 0;
  for (const ParameterRun run : runs) most = std::max(most, shape_of(run).elements());
  dense_value_ = arena.allocate(DType::kF32, {most});
  dense_gradient_ = arena.allocate(DType::kF32, {most});
}

Tensor Parameters::dense_value_room(ParameterRun run) const { return room_for(run, dense_value_); }

Tensor Parameters::dense_gradient_room(ParameterRun run) const { return room_for(run, dense_gradient_); }

Tensor Parameters::room_for(ParameterRun run, const Tensor& room) const {
  const Shape shape = shape_of(run);
  if (room.empty() || room.elements() < shape.elements()) return {};
  return part(room, DType::kF32, 0, shape);
}

void Parameters::initialize(uint64_t seed) {
  for (size_t i = 0; i < list_.size(); ++i) {
    const Parameter& parameter = list_[i];
    with_wide_type("parameters", values_.dtype(), [&]<typename T>() {
      const std::span<T> values = value(static_cast<int>(i)).values<T>();
      if (parameter.kind == ParameterKind::kNorm)
        std::fill(values.begin(), values.end(), T{1});
      else if (parameter.sparse)
        fill_normal(values, pattern_of(static_cast<int>(i)), parameter, seed, key_of(parameter.name));
      else
        fill_normal(values, parameter, seed, key_of(parameter.name));
    });
    release_values(static_cast<int>(i));
  }
  note_change();
}

int64_t Parameters::dense_elements() const {
  int64_t all = 0;
  for (const Parameter& parameter : list_) all += parameter.shape.elements();
  return all;
}

int64_t Parameters::active_elements() const {
  double active = 0;
  for (const Parameter& parameter : list_)
    active += parameter.token_share * static_cast<double>(parameter.elements());
  return std::llround(active);
}

// Never less for more weights.
int64_t Parameters::padded(size_t first, size_t last, bool with_room) const {
  int64_t elements = 0, groups = 0, dense_end = 0;
  for (size_t i = first; i < last; ++i) {
    const Parameter& parameter = list_[i];
    elements += with_room ? most_[i] : parameter.elements();
    groups += parameter.begins_group ? 1 : 0;
    dense_end = (parameter.begins_group ? whole_chunks(dense_end) : dense_end) + parameter.shape.elements();
  }
  return std::min(whole_chunks(elements) + groups * kParameterChunk, whole_chunks(dense_end));
}

int64_t Parameters::own_experts_begin() const { return padded(0, own_experts(), !is_settled_); }

int64_t Parameters::padded_elements() const {
  return own_experts_begin() + padded(own_experts(), list_.size(), !is_settled_);
}

Tensor Parameters::value(int index) const {
  const Parameter& parameter = list_[static_cast<size_t>(index)];
  return part(values_, values_.dtype(), parameter.offset, value_shape(parameter));
}

Tensor Parameters::gradient(int index) const {
  const Parameter& parameter = list_[static_cast<size_t>(index)];
  return part(gradients_, gradients_.dtype(), parameter.offset, value_shape(parameter));
}

Tensor Parameters::values_of(ParameterRun run) const {
  return part(values_, values_.dtype(), list_[static_cast<size_t>(run.first)].offset, shape_of_values(run));
}

Tensor Parameters::gradients_of(ParameterRun run) const {
  return part(gradients_, gradients_.dtype(), list_[static_cast<size_t>(run.first)].offset,
              shape_of_values(run));
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

Shape Parameters::shape_of_values(ParameterRun run) const {
  const Pattern* pattern = pattern_of(run);
  return pattern != nullptr ? Shape{pattern->nonzeros()} : shape_of(run);
}

}  // namespace fern
