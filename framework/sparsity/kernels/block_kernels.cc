// Compiled once per instruction set (vector.h).
#include "framework/sparsity/kernels/block_kernels.h"

#include "framework/sparsity/kernels/token_tile.h"

namespace fern::FERN_SIMD_NAMESPACE {

namespace {

typedef float Quad __attribute__((vector_size(16)));
typedef uint32_t QuadWords __attribute__((vector_size(16)));
typedef uint16_t QuadHalves __attribute__((vector_size(8)));

constexpr int kRows = kBlockStep;
// Half of the registers hold sums.
constexpr int kMostVectors = kLanes == 16 ? 4 : 2, kMostStrips = kMostVectors;

// sum[output][token] of kRows outputs of one block, for kVectors vectors of tokens. x and sum are tiles of
// kTokens. kBlock is the size of the blocks, or 0 for any.
template <int64_t kTokens, int kVectors, int64_t kBlock>
[[gnu::noinline]] void sum_outputs(float* sum, const float* x, const BlockRuns& w, int64_t output) {
  const int64_t block_inputs = kBlock != 0 ? kBlock : w.block_inputs;
  const int64_t elements = kBlock != 0 ? kBlock * kBlock : w.block_outputs * w.block_inputs;
  const int64_t run = output / (kBlock != 0 ? kBlock : w.block_outputs);
  const int64_t output_step = w.output_step, input_step = w.input_step;
  const float* values = w.values + output % (kBlock != 0 ? kBlock : w.block_outputs) * output_step;
  const uint16_t* input = w.input;
  const uint32_t* block = w.block;
  Floats total[kRows][kVectors] = {};
  for (int64_t i = w.run_begin[run]; i < w.run_begin[run + 1]; ++i) {
    const float* from = x + input[i] * block_inputs * kTokens;
    const float* weight = values + (block != nullptr ? block[i] : i) * elements;
#pragma GCC unroll 4
    for (int64_t k = 0; k < block_inputs; ++k, from += kTokens, weight += input_step)
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) total[r][v] += weight[r * output_step] * load(from + v * kLanes);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(sum + r * kTokens + v * kLanes, total[r][v]);
}

template <int64_t kTokens, int64_t kBlock, typename T>
void product_of_tile(TokenRows<T> y, TokenRows<const T> x, const BlockRuns& w, int64_t first, int64_t last,
                     float* room) {
  constexpr int kVectors = kTokens / kLanes < kMostVectors ? kTokens / kLanes : kMostVectors;
  float *x_tile = room, *sum = room + w.inputs * kTokens;
  read_tile<kTokens>(x_tile, x.data, x.stride, x.tokens, w.inputs);
  for (int64_t group = first; group < last; group += kBlockOutputs) {
    const int64_t end = group + kBlockOutputs < last ? group + kBlockOutputs : last;
    for (int64_t token = 0; token < kTokens; token += kVectors * kLanes)
      for (int64_t output = group; output < end; output += kRows)
        sum_outputs<kTokens, kVectors, kBlock>(sum + (output - group) * kTokens + token, x_tile + token, w,
                                               output);
    write_tile<kTokens>(y.data + group, y.stride, sum, y.tokens, end - group);
  }
}

template <int64_t kTokens, typename T>
void product_of_blocks(TokenRows<T> y, TokenRows<const T> x, const BlockRuns& w, int64_t first, int64_t last,
                       float* room) {
  if (w.block_inputs == kBlockStep && w.block_outputs == kBlockStep)
    product_of_tile<kTokens, kBlockStep>(y, x, w, first, last, room);
  else
    product_of_tile<kTokens, 0>(y, x, w, first, last, room);
}

template <typename T>
void product(TokenRows<T> y, TokenRows<const T> x, const BlockRuns& w, int64_t first, int64_t last,
             float* room) {
  if (x.tokens <= kFewTokens)
    product_of_blocks<kFewTokens>(y, x, w, first, last, room);
  else
    product_of_blocks<kTileTokens>(y, x, w, first, last, room);
}

inline Quad load_quad(const float* from) {
  Quad quad;
  __builtin_memcpy(&quad, from, sizeof(quad));
  return quad;
}
inline Quad load_quad(const BF16* from) {
  QuadHalves bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return (Quad)(__builtin_convertvector(bits, QuadWords) << 16);
}
inline void store_quad(float* to, Quad quad) { __builtin_memcpy(to, &quad, sizeof(quad)); }

// The tokens of a line of the cache together, so that it is written whole.
template <typename T>
void fill_strips(float* strips, TokenRows<const T> x, int64_t features, int64_t first, int64_t last,
                 int64_t capacity) {
  for (int64_t t = first; t < last; t += kStripTokens)
    for (int64_t f = 0; f < features; f += kBlockStep) {
      const T* from = x.data + t * x.stride + f;
      float* to = strips + f * capacity + t * kBlockStep;
#pragma GCC unroll 4
      for (int64_t i = 0; i < kStripTokens; ++i)
        store_quad(to + i * kBlockStep, t + i < x.tokens ? load_quad(from + i * x.stride) : Quad{});
    }
}

// Lane `kLane` of every four.
template <int kLane>
Floats splat_of_four(Floats vector) {
  Ints lanes;
  for (int i = 0; i < kLanes; ++i) lanes[i] = i / 4 * 4 + kLane;
  return __builtin_shuffle(vector, lanes);
}

// The sum of every fourth lane.
inline Quad sum_of_fours(Floats vector) {
  Quad quads[kLanes / 4];
  __builtin_memcpy(quads, &vector, sizeof(vector));
  if constexpr (kLanes == 16) return (quads[0] + quads[1]) + (quads[2] + quads[3]);
  if constexpr (kLanes == 8) return quads[0] + quads[1];
  return quads[0];
}

// A strip of x, and where the first row of its kRows rows of gradients lies.
struct StripGradient {
  const float* x;
  float* to;
};

// to[r * row_step + k] += sum over tokens of dy[r] x[k], for a strip of dy and kStrips of x at once. A lane
// keeps the sum of every kLanes / 4th token.
template <int kStrips>
[[gnu::noinline]] void add_strips(const float* dy, const StripGradient* strips, int64_t row_step,
                                  int64_t capacity) {
  Floats total[kStrips][kRows] = {};
  for (int64_t at = 0; at < capacity * kBlockStep; at += kLanes) {
    const Floats four = load(dy + at);
    const Floats row[kRows] = {splat_of_four<0>(four), splat_of_four<1>(four), splat_of_four<2>(four),
                               splat_of_four<3>(four)};
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s)
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) total[s][r] += row[r] * load(strips[s].x + at);
  }
#pragma GCC unroll 4
  for (int s = 0; s < kStrips; ++s)
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      float* to = strips[s].to + r * row_step;
      store_quad(to, load_quad(to) + sum_of_fours(total[s][r]));
    }
}

void add_some_strips(const float* dy, const StripGradient* strips, int count, int64_t row_step,
                     int64_t capacity) {
  static_assert(kMostStrips == 2 || kMostStrips == 4);
  if constexpr (kMostStrips == 4) {
    if (count == 4) return add_strips<4>(dy, strips, row_step, capacity);
    if (count == 3) return add_strips<3>(dy, strips, row_step, capacity);
  }
  if (count == 2) return add_strips<2>(dy, strips, row_step, capacity);
  if (count == 1) return add_strips<1>(dy, strips, row_step, capacity);
}

void add_gradient(float* dvalues, const float* dy, const float* x, const BlockRuns& runs, int64_t first,
                  int64_t last, int64_t capacity) {
  const int64_t columns = runs.block_inputs, elements = runs.block_outputs * columns;
  for (int64_t output = first; output < last; output += kRows, dy += kRows * capacity) {
    const int64_t run = output / runs.block_outputs, row = output % runs.block_outputs;
    StripGradient strips[kMostStrips];
    int count = 0;
    for (int64_t i = runs.run_begin[run]; i < runs.run_begin[run + 1]; ++i)
      for (int64_t column = 0; column < columns; column += kBlockStep) {
        strips[count++] = {x + (runs.input[i] * columns + column) * capacity,
                           dvalues + i * elements + row * columns + column};
        if (count < kMostStrips) continue;
        add_strips<kMostStrips>(dy, strips, columns, capacity);
        count = 0;
      }
    add_some_strips(dy, strips, count, columns, capacity);
  }
}

}  // namespace

extern const BlockKernels<float> kBlockF32 = {product<float>, fill_strips<float>, add_gradient};
extern const BlockKernels<BF16> kBlockBF16 = {product<BF16>, fill_strips<BF16>, add_gradient};

}  // namespace fern::FERN_SIMD_NAMESPACE
