// Compiled once per instruction set (vector.h).
#include "framework/sparsity/kernels/csr_kernels.h"

#include "framework/sparsity/kernels/csr_gradient.h"
#include "framework/sparsity/kernels/csr_runs.h"
#include "framework/sparsity/kernels/token_tile.h"
#if defined(__AVX512BF16__)
#include "framework/sparsity/kernels/csr_half.h"
#endif

namespace fern::FERN_SIMD_NAMESPACE {

namespace {

// Vectors of tokens in registers at once: half of the registers hold sums where there are 16.
constexpr int kMostVectors = 8;
// With 32 registers twice the tokens fit, and a weight is fetched half as often.
constexpr int64_t kDenseTokens = kLanes == 16 ? 2 * kTileTokens : kTileTokens;

// Whether weights are loaded four at once: loads are what bounds the product, and AVX2's processors move
// lanes beside multiplying. (Intel's move those of 64 bytes where they would multiply.)
constexpr bool kLoadsFours = kLanes == 8;

// sums[output][token] (+)= the runs of one cell, for kVectors vectors of tokens. x and sums are tiles of
// kTokens.
template <int64_t kTokens, int kVectors>
[[gnu::noinline]] void add_cell(float* sums, const float* x, const CsrRuns& w, int64_t cell, bool is_first) {
  for_each_run(
      w, cell, w.values, [&](const CsrRun& run, uint32_t begin) __attribute__((always_inline)) {
        float* sum = sums + run.output * kTokens;
        Floats total[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) total[v] = is_first ? Floats{} : load(sum + v * kLanes);
        const uint16_t* index = w.index + begin;
        const float* value = w.values + begin;
        const float* const end = value + run.count;
        const auto add = [&](uint16_t input, const auto& weight) __attribute__((always_inline)) {
          const float* from = in_register(x + input * kTokens);
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) total[v] += weight * load(from + v * kLanes);
        };
        if constexpr (kLoadsFours)
          for (; end - value >= 4; value += 4, index += 4) {
            const Quad quad = load_quad(value);
            const Floats four = joined(quad, quad);
            add(index[0], splat_of_four<0>(four)), add(index[1], splat_of_four<1>(four));
            add(index[2], splat_of_four<2>(four)), add(index[3], splat_of_four<3>(four));
          }
        for (; value != end; ++value, ++index) add(*index, *value);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) store(sum + v * kLanes, total[v]);
      });
}

template <int64_t kTokens, typename T>
void product_of_tile(TokenRows<T> y, TokenRows<const T> x, const CsrRuns& w, CsrRange groups,
                     const CsrRoom& room) {
  static_assert(kTokens <= kCsrTokens);
  constexpr int kVectors = kTokens / kLanes < kMostVectors ? kTokens / kLanes : kMostVectors;
  auto *tile = static_cast<float*>(room.tile), *sums = static_cast<float*>(room.sums);
  read_tile<kTokens>(tile, x.data, x.stride, x.tokens, w.inputs);
  for (int64_t group = groups.first; group < groups.last; ++group) {
    for (int64_t band = 0; band < w.bands; ++band)
      for (int64_t token = 0; token < kTokens; token += kVectors * kLanes)
        add_cell<kTokens, kVectors>(sums + token, tile + w.origin[band] * kTokens + token, w,
                                    group * w.bands + band, band == 0);
    write_tile<kTokens>(y.data + group * w.group_outputs, y.stride, sums, y.tokens, outputs_of(w, group));
  }
}

template <typename T>
void product(TokenRows<T> y, TokenRows<const T> x, const CsrRuns& w, CsrRange groups, const CsrRoom& room) {
  if (x.tokens <= kFewTokens)
    product_of_tile<kFewTokens>(y, x, w, groups, room);
  else if (x.tokens <= kTileTokens)
    product_of_tile<kTileTokens>(y, x, w, groups, room);
  else
    product_of_tile<kDenseTokens>(y, x, w, groups, room);
}

template <typename T>
void read_gradient_tile(void* tile, TokenRows<const T> x, int64_t features) {
  read_tile<WideGradient::kTokens>(static_cast<float*>(tile), x.data, x.stride, x.tokens, features);
}

template <typename T>
constexpr CsrKernels<T> kWideKernels = {.reads_rounded = false,
                                        .product_tokens = kTileTokens,
                                        .dense_product_tokens = kDenseTokens,
                                        .product_bytes = 4,
                                        .product = product<T>,
                                        .gradient_tokens = WideGradient::kTokens,
                                        .gradient_bytes = WideGradient::kTokens * 4,
                                        .read_gradient_tile = read_gradient_tile<T>,
                                        .add_gradient = add_gradient_of_tile<WideGradient>};

}  // namespace

extern const CsrKernels<float> kCsrF32 = kWideKernels<float>;
#if defined(__AVX512BF16__)
extern const CsrKernels<BF16> kCsrBF16 = {.reads_rounded = true,
                                          .product_tokens = kHalfTokens,
                                          .dense_product_tokens = kHalfTokens,
                                          .product_bytes = 2,
                                          .product = half_product,
                                          .gradient_tokens = HalfGradient::kTokens,
                                          .gradient_bytes = HalfGradient::kTokens * 2,
                                          .read_gradient_tile = read_half_gradient_tile,
                                          .add_gradient = add_gradient_of_tile<HalfGradient>};
#else
extern const CsrKernels<BF16> kCsrBF16 = kWideKernels<BF16>;
#endif

}  // namespace fern::FERN_SIMD_NAMESPACE
