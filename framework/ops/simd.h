// Products of small matrices that lie in cache, and their transposes: GCC's portable vectors, as wide as the
// processor that the build is for.
#pragma once

#include <cstdint>
#include <cstring>

namespace fern {

// Rows of the output held in registers.
#if defined(__AVX512F__)
inline constexpr int kVector_bytes = 64, kKernelRows = 8;
#elif defined(__AVX__)
inline constexpr int kVector_bytes = 32, kKernelRows = 4;
#else
inline constexpr int kVector_bytes = 16, kKernelRows = 4;
#endif
// Vectors of each row: with two, sums fill about half of the registers. Where columns are many, two kernels
// of kWideVectors take the place of three: on 16 registers they read less for each product.
inline constexpr int kKernelVectors = 2, kWideVectors = kVector_bytes == 32 ? 3 : 2;

// Rows of one product_of_rows().
inline constexpr int64_t kRowBlock = 8;
static_assert(kRowBlock % kKernelRows == 0);

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVector_bytes)));
};
template <typename T>
using Vector = typename VectorOf<T>::type;
template <typename T>
inline constexpr int64_t kLanes = kVector_bytes / static_cast<int64_t>(sizeof(T));

// Columns of every operand come in multiples of this.
template <typename T>
inline constexpr int64_t kColumnStep =
    kKernelVectors* kLanes<T> < kRowBlock ? kRowBlock : kKernelVectors* kLanes<T>;

constexpr int64_t rounded_down(int64_t value, int64_t step) { return value / step * step; }
constexpr int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

template <typename T>
inline Vector<T> load(const T* from) {
  Vector<T> vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}
template <typename T>
inline void store(T* to, Vector<T> vector) {
  std::memcpy(to, &vector, sizeof(vector));
}

// The vector, loaded once, where a compiler would rather load it again for every use.
template <typename V>
inline V in_register(V vector) {
#if defined(__x86_64__)
  asm("" : "+v"(vector));
#endif
  return vector;
}

// Element (row, k) of the left operand lies at data[row * row_stride + k * depth_stride].
template <typename T>
struct Left {
  const T* data;
  int64_t row_stride, depth_stride;
};
// Element (row or k, column) lies at data[row * stride + column].
template <typename T>
struct Block {
  T* data;
  int64_t stride;
};

template <typename T>
inline Vector<T> multiply_add(Vector<T> sum, const T& a, Vector<T> b) {
  return sum + a * b;
}

// kKernelRows x kVectors of C in registers. Not inlined, and rows of A reached from two pointers, so
// that no address is spilled in the inner loop. `Factor` is the type of both operands.
template <typename T, bool kAccumulate, int kVectors, typename Factor>
[[gnu::noinline]] void kernel(T* c, int64_t c_stride, const Factor* a, int64_t a_row, int64_t a_depth,
                              const Factor* b, int64_t b_stride, int64_t depth) {
  static_assert(kLanes<T> == kLanes<Factor>);
  constexpr int kHalf = kKernelRows / 2;
  Vector<T> sum[kKernelRows][kVectors];
#pragma GCC unroll 8
  for (int row = 0; row < kKernelRows; ++row)
    for (int v = 0; v < kVectors; ++v)
      sum[row][v] = kAccumulate ? load(c + row * c_stride + v * kLanes<T>) : Vector<T>{};
  const Factor* halves[2] = {a, a + kHalf * a_row};
  for (int64_t k = 0; k < depth; ++k) {
    Vector<Factor> right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = in_register(load(b + v * kLanes<T>));
    for (int row = 0; row < kKernelRows; ++row)
      for (int v = 0; v < kVectors; ++v)
        sum[row][v] = multiply_add(sum[row][v], halves[row / kHalf][row % kHalf * a_row], right[v]);
    halves[0] += a_depth, halves[1] += a_depth, b += b_stride;
  }
#pragma GCC unroll 8
  for (int row = 0; row < kKernelRows; ++row)
    for (int v = 0; v < kVectors; ++v) store(c + row * c_stride + v * kLanes<T>, sum[row][v]);
}

// The same for kRowBlock rows.
template <typename T, bool kAccumulate, int kVectors, typename Factor>
inline void product_of_columns(Block<T> c, Left<Factor> a, Block<const Factor> b, int64_t depth) {
  for (int64_t row = 0; row < kRowBlock; row += kKernelRows)
    kernel<T, kAccumulate, kVectors>(c.data + row * c.stride, c.stride, a.data + row * a.row_stride,
                                     a.row_stride, a.depth_stride, b.data, b.stride, depth);
}

// C (+)= A B for kRowBlock rows of C. REQUIRES: `columns` is a multiple of kColumnStep<T>.
template <typename T, bool kAccumulate, typename Factor = T>
inline void product_of_rows(Block<T> c, Left<Factor> a, Block<const Factor> b, int64_t columns,
                            int64_t depth) {
  int64_t column = 0;
  const auto multiply = [&]<int kVectors>() {
    product_of_columns<T, kAccumulate, kVectors, Factor>({c.data + column, c.stride}, a,
                                                         {b.data + column, b.stride}, depth);
    column += kVectors * kLanes<T>;
  };
  while (columns - column >= 2 * kWideVectors * kLanes<T>)
    multiply.template operator()<kWideVectors>(), multiply.template operator()<kWideVectors>();
  while (column < columns) multiply.template operator()<kKernelVectors>();
}

// Lane indices of a shuffle of two vectors.
template <typename T>
struct LaneIndex;
template <>
struct LaneIndex<float> {
  typedef int32_t type __attribute__((vector_size(kVector_bytes)));
};
template <>
struct LaneIndex<double> {
  typedef int64_t type __attribute__((vector_size(kVector_bytes)));
};

// out[column][row] = in[row][column] for a square of kLanes, in log2(kLanes) rounds that swap the
// off-diagonal quarters of ever larger squares (Eklundh 1972).
template <typename T>
inline void transpose_square(T* out, int64_t out_stride, const T* in, int64_t in_stride) {
  constexpr int kSide = static_cast<int>(kLanes<T>);
  Vector<T> row[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) row[i] = load(in + i * in_stride);
#pragma GCC unroll 4
  for (int width = 1; width < kSide; width *= 2) {
    typename LaneIndex<T>::type upper = {}, lower = {};
#pragma GCC unroll 16
    for (int lane = 0; lane < kSide; ++lane) {
      upper[lane] = (lane & width) != 0 ? kSide + lane - width : lane;
      lower[lane] = (lane & width) != 0 ? kSide + lane : lane + width;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kSide; ++i) {
      if ((i & width) != 0) continue;
      const Vector<T> a = row[i], b = row[i + width];
      row[i] = __builtin_shuffle(a, b, upper);
      row[i + width] = __builtin_shuffle(a, b, lower);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) store(out + i * out_stride, row[i]);
}

// out[column][row] = in[row][column].
template <typename T>
inline void transpose(Block<T> out, Block<const T> in, int64_t rows, int64_t columns) {
  const int64_t square_rows = rounded_down(rows, kLanes<T>),
                square_columns = rounded_down(columns, kLanes<T>);
  for (int64_t row = 0; row < square_rows; row += kLanes<T>)
    for (int64_t column = 0; column < square_columns; column += kLanes<T>)
      transpose_square(out.data + column * out.stride + row, out.stride, in.data + row * in.stride + column,
                       in.stride);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = row < square_rows ? square_columns : 0; column < columns; ++column)
      out.data[column * out.stride + row] = in.data[row * in.stride + column];
}

}  // namespace fern
