#include "framework/sparsity/csr_product.h"

#include <omp.h>

#include <algorithm>
#include <limits>

#include "framework/ops/scratch.h"
#include "framework/sparsity/ceiling.h"

namespace fern {

namespace {

// Up to so many tokens arranging the weights would cost more than it saves.
constexpr int64_t kInPlaceTokens = 16;

CsrRange part_of(int64_t count, int64_t part, int64_t parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

// One task makes some outputs of one tile of tokens: all of them, unless tiles are fewer than threads.
template <typename T>
void run_product(T* y_TO, const T* x_TI, const CsrRuns& w, int64_t tokens, double density) {
  const CsrKernels<T>& kernels = csr_kernels<T>(simd_level());
  constexpr double kDense = 0.27;
  const int64_t width = density > kDense ? kernels.dense_product_tokens : kernels.product_tokens;
  const int64_t tiles = ceiling(tokens, width),
                tile_bytes = width * kernels.product_bytes * (w.inputs + kCsrFeatures);
  if (tiles == 0) return;
  const int64_t parts = std::min(ceiling(omp_get_max_threads(), tiles), w.groups);
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < tiles * parts; ++task) {
    const int64_t token = task / parts * width, count = std::min(tokens - token, width);
    auto* room = thread_scratch<std::byte>(kCsrSumBytes + tile_bytes);
    kernels.product({y_TO + token * w.outputs, w.outputs, count}, {x_TI + token * w.inputs, w.inputs, count},
                    w, part_of(w.groups, task % parts, parts), {room + kCsrSumBytes, room});
  }
}

// Gives `w` the values that arrange(to) writes, in the type that the kernels for T read.
template <typename T, typename Arrange>
void set_values(CsrRuns& w, int64_t nonzeros, const Arrange& arrange) {
  if (csr_kernels<T>(simd_level()).reads_rounded) {
    auto* arranged = thread_scratch<BF16>(nonzeros);
    arrange(arranged);
    w.rounded = arranged;
  } else {
    auto* arranged = thread_scratch<float>(nonzeros);
    arrange(arranged);
    w.values = arranged;
  }
}

// Weights rounded once for all tokens.
void round_values(BF16* rounded_N, const float* values_N, int64_t count) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < count; ++i) rounded_N[i] = narrow<BF16>(values_N[i]);
}

// How many parts of the groups and of the bands there are; each pair is a task of one thread.
struct GradientSplit {
  int64_t groups, bands;
};

// A task turns over its own part of both activations and multiplies them; the largest task should be small.
GradientSplit split_of(const CsrRuns& w, double density, int64_t threads) {
  constexpr double kTurning = 6;  // weights that cost as much as turning over a feature
  GradientSplit best{1, 1};
  double least = std::numeric_limits<double>::infinity();
  for (int64_t bands = std::min(threads, w.bands); bands > 0; --bands) {
    const int64_t parts = std::clamp<int64_t>(w.groups, 1, ceiling(threads, bands));
    const auto outputs = static_cast<double>(ceiling(w.groups, parts) * w.group_outputs),
               inputs = static_cast<double>(ceiling(w.bands, bands) * w.band_inputs);
    const double work = outputs * inputs * density + kTurning * (outputs + inputs);
    if (work < least) best = {parts, bands}, least = work;
  }
  return best;
}

// dW += dY^T X for some groups and bands, tile of tokens by tile; the tiles stay in the second cache.
template <typename T>
void add_gradient(float* dvalues_N, const T* dy_TO, const T* x_TI, const CsrRuns& w, CsrRange groups,
                  CsrRange bands, int64_t tokens) {
  const CsrKernels<T>& kernels = csr_kernels<T>(simd_level());
  const int64_t input = bands.first * w.band_inputs,
                inputs = std::min(bands.last * w.band_inputs, w.inputs) - input;
  auto* dy = thread_scratch<std::byte>((kCsrOutputs + inputs + 2 * kCsrFeatures) * kernels.gradient_bytes);
  std::byte* x = dy + (kCsrOutputs + kCsrFeatures) * kernels.gradient_bytes;
  for (int64_t token = 0; token < tokens; token += kernels.gradient_tokens) {
    const int64_t count = std::min(tokens - token, kernels.gradient_tokens);
    kernels.read_gradient_tile(x, {x_TI + token * w.inputs + input, w.inputs, count}, inputs);
    for (int64_t group = groups.first; group < groups.last; ++group) {
      const int64_t first = group * w.group_outputs;
      kernels.read_gradient_tile(dy, {dy_TO + token * w.outputs + first, w.outputs, count},
                                 std::min(w.group_outputs, w.outputs - first));
      kernels.add_gradient(dvalues_N, dy, x, w, group, bands);
    }
  }
}

}  // namespace

bool CsrProduct::handles(const Pattern& pattern) {
  return pattern.block() == BlockShape{} && pattern.nonzeros() <= std::numeric_limits<int32_t>::max();
}

CsrProduct::CsrProduct(const Pattern& pattern) : pattern_(&pattern), forward_(pattern), backward_(pattern) {}

template <typename T>
void CsrProduct::forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const {
  const int64_t nonzeros = pattern_->nonzeros();
  CsrRuns w = forward_.runs();
  if (tokens > kInPlaceTokens) {
    auto* columns = thread_scratch<uint16_t>(nonzeros);
    w = forward_.runs(columns);
    set_values<T>(w, nonzeros, [&](auto* to) { forward_.arrange(columns, to, values_N); });
  } else if (csr_kernels<T>(simd_level()).reads_rounded) {
    auto* rounded = thread_scratch<BF16>(nonzeros);
    round_values(rounded, values_N, nonzeros);
    w.rounded = rounded;
  } else {
    w.values = values_N;
  }
  run_product(y_TO, x_TI, w, tokens, pattern_->density());
}

template <typename T>
void CsrProduct::backward_input(T* dx_TI, const T* dy_TO, const float* values_N, int64_t tokens) const {
  CsrRuns w = backward_.runs();
  set_values<T>(w, pattern_->nonzeros(), [&](auto* to) { backward_.arrange(to, values_N); });
  run_product(dx_TI, dy_TO, w, tokens, pattern_->density());
}

template <typename T>
void CsrProduct::backward_weight(float* dvalues_N, const T* dy_TO, const T* x_TI, int64_t tokens) const {
  auto* columns = thread_scratch<uint16_t>(pattern_->nonzeros());
  auto* arranged = thread_scratch<float>(pattern_->nonzeros());
  forward_.arrange(columns);
  const CsrRuns w = forward_.runs(columns);
  const GradientSplit split = split_of(w, pattern_->density(), omp_get_max_threads());
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < split.groups * split.bands; ++task) {
    const CsrRange groups = part_of(w.groups, task / split.bands, split.groups),
                   bands = part_of(w.bands, task % split.bands, split.bands);
    const auto for_each_cell = [&](const auto& visit) {
      for (int64_t group = groups.first; group < groups.last; ++group)
        for (int64_t band = bands.first; band < bands.last; ++band) visit(group * w.bands + band);
    };
    for_each_cell([&](int64_t cell) {
      std::fill(arranged + w.first_weight[cell], arranged + w.first_weight[cell + 1], 0.0F);
    });
    add_gradient(arranged, dy_TO, x_TI, w, groups, bands, tokens);
    for_each_cell([&](int64_t cell) { forward_.add_arranged(dvalues_N, arranged, cell); });
  }
}

size_t CsrProduct::index_bytes() const { return forward_.bytes() + backward_.bytes(); }

template void CsrProduct::forward(float*, const float*, const float*, int64_t) const;
template void CsrProduct::forward(BF16*, const BF16*, const float*, int64_t) const;
template void CsrProduct::backward_input(float*, const float*, const float*, int64_t) const;
template void CsrProduct::backward_input(BF16*, const BF16*, const float*, int64_t) const;
template void CsrProduct::backward_weight(float*, const float*, const float*, int64_t) const;
template void CsrProduct::backward_weight(float*, const BF16*, const BF16*, int64_t) const;

}  // namespace fern
