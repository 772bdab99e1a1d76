#include <cmath>

#include "framework/ops/checks.h"
#include "framework/ops/rotary.h"
#include "framework/ops/simd_rows.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// direction +1 rotates by the angle, -1 back.
template <typename T>
void rotate_row(T* row, const Wide<T>* cosine, const Wide<T>* sine, int64_t rotated_heads, int64_t half,
                Wide<T> direction) {
  for (int64_t head = 0; head < rotated_heads; ++head) {
    T *low = row + head * 2 * half, *high = low + half;
    for_vectors<Wide<T>>(half, [=](auto at) {
      const Vector<Wide<T>> a = at.read(low), b = at.read(high), c = at.read(cosine),
                            s = direction * at.read(sine);
      at.write(low, a * c - b * s);
      at.write(high, b * c + a * s);
    });
  }
}

void rotate(std::string_view op, Tensor qkv_TE, const Tensor& cos_PK, const Tensor& sin_PK,
            const Tensor& position_T, int64_t heads, int64_t kv_heads, int64_t offset, int direction,
            const Stream& stream) {
  expect_on_cpu(op, stream, {qkv_TE, cos_PK, sin_PK, position_T});
  expect_rank(op, "qkv", qkv_TE, 2);
  expect_rank(op, "cos", cos_PK, 2);
  const int64_t tokens = qkv_TE.dim(0), row_size = qkv_TE.dim(1), positions = cos_PK.dim(0);
  const HeadLayout layout = head_layout(op, row_size, heads, kv_heads);
  expect(layout.head_size % 2 == 0, "[{}] expected an even head size, got {}", op, layout.head_size);
  const int64_t half = layout.head_size / 2;
  expect_tensor(op, "cos", cos_PK, wide_of(qkv_TE.dtype()), {positions, half});
  expect_tensor(op, "sin", sin_PK, wide_of(qkv_TE.dtype()), {positions, half});
  expect_tensor(op, "position", position_T, DType::kI32, {tokens});
  const int32_t* position = position_T.as<int32_t>();
  for (int64_t t = 0; t < tokens; ++t)
    expect(0 <= position[t] + offset && position[t] + offset < positions,
           "[{}] token {}: expected a position in 0..{}, got {}", op, t, positions - 1, position[t] + offset);
  const OpTimer timer(stream, op, touches({qkv_TE, qkv_TE}));
  with_float_type(op, qkv_TE.dtype(), [&]<typename T>() {
    T* qkv = qkv_TE.as<T>();
    const Wide<T>*cosine = cos_PK.as<Wide<T>>(), *sine = sin_PK.as<Wide<T>>();
#pragma omp parallel for if (tokens * row_size >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t angle = (position[t] + offset) * half;
      rotate_row(qkv + t * row_size, cosine + angle, sine + angle, heads + kv_heads, half,
                 static_cast<Wide<T>>(direction));
    }
  });
}

}  // namespace

void rotary_tables(Tensor cos_PK, Tensor sin_PK, double theta) {
  expect_on_cpu("rotary_tables", Stream(), {cos_PK, sin_PK});
  expect_rank("rotary_tables", "cos", cos_PK, 2);
  expect_tensor("rotary_tables", "sin", sin_PK, cos_PK.dtype(), cos_PK.shape());
  const int64_t positions = cos_PK.dim(0), half = cos_PK.dim(1);
  with_wide_type("rotary_tables", cos_PK.dtype(), [&]<typename T>() {
    T *cosine = cos_PK.as<T>(), *sine = sin_PK.as<T>();
    for (int64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
      for (int64_t p = 0; p < positions; ++p) {
        cosine[p * half + i] = static_cast<T>(std::cos(static_cast<double>(p) * frequency));
        sine[p * half + i] = static_cast<T>(std::sin(static_cast<double>(p) * frequency));
      }
    }
  });
}

void rotary_forward(Tensor qkv_TE, const Tensor& cos_PK, const Tensor& sin_PK, const Tensor& position_T,
                    int64_t heads, int64_t kv_heads, int64_t offset, Stream& stream) {
  rotate("rotary_forward", qkv_TE, cos_PK, sin_PK, position_T, heads, kv_heads, offset, 1, stream);
}

void rotary_backward(Tensor dqkv_TE, const Tensor& cos_PK, const Tensor& sin_PK, const Tensor& position_T,
                     int64_t heads, int64_t kv_heads, Stream& stream) {
  rotate("rotary_backward", dqkv_TE, cos_PK, sin_PK, position_T, heads, kv_heads, 0, -1, stream);
}

}  // namespace fern
