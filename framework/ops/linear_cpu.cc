#include <omp.h>

#include <algorithm>
#include <atomic>

#include "framework/ops/checks.h"
#include "framework/ops/f32_product.h"
#include "framework/ops/library_product.h"
#include "framework/ops/linear.h"
#include "framework/ops/scratch.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// C (+)= A B for one block of the output, on the calling thread.
bool block_product(float* c, int64_t c_stride, Operand<float> a, Operand<float> b, ProductSize size,
                   bool accumulate) {
  return f32_product(c, c_stride, a, b, size, accumulate);
}

// The plain product, for checking gradients.
bool block_product(double* c, int64_t c_stride, Operand<double> a, Operand<double> b, ProductSize size,
                   bool accumulate) {
  for (int64_t i = 0; i < size.rows; ++i)
    for (int64_t j = 0; j < size.columns; ++j) {
      double sum = accumulate ? c[i * c_stride + j] : 0.0;
      for (int64_t k = 0; k < size.depth; ++k) sum += *a.at(i, k) * *b.at(k, j);
      c[i * c_stride + j] = sum;
    }
  return true;
}

// What is f32 already stays where it is; bf16 is widened into `room`, as rows of op(matrix).
Operand<float> widened(Operand<float> matrix, float*, int64_t, int64_t) { return matrix; }
Operand<float> widened(Operand<BF16> matrix, float* room, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) room[i * columns + j] = widen(*matrix.at(i, j));
  return {room, columns, false};
}

// With bf16 operands, for processors whose library has no such product.
template <typename C, typename A, typename B>
bool block_product(C* c, int64_t c_stride, Operand<A> a, Operand<B> b, ProductSize size, bool accumulate) {
  const auto [rows, columns, depth] = size;
  float* sum = thread_scratch<float>(rows * columns + rows * depth + depth * columns);
  float *a_room = sum + rows * columns, *b_room = a_room + rows * depth;
  const bool done = block_product(sum, columns, widened(a, a_room, rows, depth),
                                  widened(b, b_room, depth, columns), size, false);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      C& out = c[i * c_stride + j];
      out = narrow<C>(sum[i * columns + j] + (accumulate ? widen(out) : 0.0F));
    }
  return done;
}

// The library splits the depth of some products over its threads, which changes their bits. So the output is
// cut into blocks that depend on its size only, and each is a product on one thread. A transposed B costs
// more to pack: it is reused over more rows.
template <typename C, typename A, typename B>
void product(C* c, Operand<A> a, Operand<B> b, ProductSize size, bool accumulate) {
  constexpr bool kWidens = std::is_same_v<A, BF16>;
  const int64_t block_rows = kWidens ? 64 : b.transposed ? 512 : 256, block_columns = 384;
  const int64_t row_blocks = (size.rows + block_rows - 1) / block_rows;
  const int64_t column_blocks = (size.columns + block_columns - 1) / block_columns;
  std::atomic<bool> done = true;
  const int64_t blocks = row_blocks * column_blocks;
#pragma omp parallel if (blocks > 1)
  {
    omp_set_num_threads(1);  // of this region only: the library's threads
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t row = block % row_blocks * block_rows, column = block / row_blocks * block_columns;
      const ProductSize part = {std::min(block_rows, size.rows - row),
                                std::min(block_columns, size.columns - column), size.depth};
      if (!block_product(c + row * size.columns + column, size.columns,
                         Operand<A>{a.at(row, 0), a.stride, a.transposed},
                         Operand<B>{b.at(0, column), b.stride, b.transposed}, part, accumulate))
        done = false;
    }
  }
  expect(done, "[linear] the library refused a product of {} x {} x {}", size.rows, size.columns, size.depth);
}

// dW += dY^T X from bf16 by the library, in blocks of dW's rows; false where it has no fast one. Rows of dY
// are dy_stride apart.
bool library_weight_product(float* dw, const BF16* dy, int64_t dy_stride, const BF16* x, ProductSize size) {
  constexpr int64_t kBlockRows = 128;
  const int64_t blocks = (size.rows + kBlockRows - 1) / kBlockRows;
  std::atomic<bool> fast = true;
#pragma omp parallel if (blocks > 1)
  {
    omp_set_num_threads(1);
    const auto planned = [&](int64_t rows) {
      return LibraryProduct({rows, size.columns, size.depth}, OperandLayout{DType::kBF16, 1, dy_stride},
                            OperandLayout{DType::kBF16, size.columns, 1},
                            OperandLayout{DType::kF32, size.columns, 1}, true);
    };
    const LibraryProduct whole = planned(std::min(size.rows, kBlockRows));
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t row = block * kBlockRows, rows = std::min(kBlockRows, size.rows - row);
      if (!whole.is_fast())
        fast = false;
      else if (rows == std::min(size.rows, kBlockRows))
        whole.run(dw + row * size.columns, dy + row, x);
      else
        planned(rows).run(dw + row * size.columns, dy + row, x);
    }
  }
  return fast;
}

struct Sizes {
  int64_t tokens, inputs, outputs;
};

// `dtype` is the activations'; the weight, or its gradient, is wide.
Sizes checked(std::string_view op, const Stream& stream, const Tensor& y_TO, const Tensor& x_TI,
              const Tensor& w_OI, std::string_view y_name, std::string_view x_name, std::string_view w_name) {
  expect_on_cpu(op, stream, {y_TO, x_TI, w_OI});
  expect_rank(op, x_name, x_TI, 2);
  expect_rank(op, w_name, w_OI, 2);
  const Sizes sizes = {x_TI.dim(0), w_OI.dim(1), w_OI.dim(0)};
  const DType dtype = wide_of(x_TI.dtype()) == w_OI.dtype() ? x_TI.dtype() : w_OI.dtype();
  expect_tensor(op, x_name, x_TI, dtype, {sizes.tokens, sizes.inputs});
  expect_tensor(op, y_name, y_TO, dtype, {sizes.tokens, sizes.outputs});
  return sizes;
}

}  // namespace

void linear_forward(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, Stream& stream) {
  const auto [tokens, inputs, outputs] = checked("linear_forward", stream, y_TO, x_TI, w_OI, "y", "x", "w");
  const ProductSize size = {tokens, outputs, inputs};
  const OpTimer timer(stream, "linear_forward", product_work(y_TO, x_TI, w_OI.bytes()));
  with_float_type("linear_forward", x_TI.dtype(), [&]<typename T>() {
    product<T, T, Wide<T>>(y_TO.as<T>(), {x_TI.as<T>(), size.depth, false},
                           {w_OI.as<Wide<T>>(), size.depth, true}, size, false);
  });
}

void linear_backward_input(Tensor dx_TI, const Tensor& dy_TO, const Tensor& w_OI, bool accumulate,
                           Stream& stream) {
  const auto [tokens, inputs, outputs] =
      checked("linear_backward_input", stream, dy_TO, dx_TI, w_OI, "dy", "dx", "w");
  const ProductSize size = {tokens, inputs, outputs};
  const OpTimer timer(stream, "linear_backward_input", product_work(dy_TO, dx_TI, w_OI.bytes()));
  with_float_type("linear_backward_input", dx_TI.dtype(), [&]<typename T>() {
    product<T, T, Wide<T>>(dx_TI.as<T>(), {dy_TO.as<T>(), size.depth, false},
                           {w_OI.as<Wide<T>>(), size.columns, false}, size, accumulate);
  });
}

void linear_backward_weight(Tensor dw_OI, const Tensor& dy_TO, const Tensor& x_TI, Stream& stream) {
  checked("linear_backward_weight", stream, dy_TO, x_TI, dw_OI, "dy", "x", "dw");
  linear_backward_weight_rows(dw_OI, dy_TO, 0, x_TI, stream);
}

void linear_backward_weight_rows(Tensor dw_RI, const Tensor& dy_TO, int64_t first_row, const Tensor& x_TI,
                                 Stream& stream) {
  constexpr std::string_view kOp = "linear_backward_weight";
  expect_rank(kOp, "dy", dy_TO, 2);
  const int64_t outputs = dy_TO.dim(1), rows = dw_RI.dim(0);
  expect(0 <= first_row && first_row + rows <= outputs, "[{}] expected rows within {}, got {} to {}", kOp,
         outputs, first_row, first_row + rows);
  checked(kOp, stream, dy_TO, x_TI, Tensor(dw_RI.data(), dw_RI.dtype(), {outputs, dw_RI.dim(1)}), "dy", "x",
          "dw");
  const ProductSize size = {rows, dw_RI.dim(1), x_TI.dim(0)};
  const OpTimer timer(stream, kOp, product_work(dy_TO, x_TI, 2 * dw_RI.bytes(), rows));
  with_float_type(kOp, x_TI.dtype(), [&]<typename T>() {
    const T* dy = dy_TO.as<T>() + first_row;
    if constexpr (std::is_same_v<T, BF16>)
      if (library_weight_product(dw_RI.as<float>(), dy, outputs, x_TI.as<T>(), size)) return;
    product<Wide<T>, T, T>(dw_RI.as<Wide<T>>(), {dy, outputs, true}, {x_TI.as<T>(), size.columns, false},
                           size, true);
  });
}

}  // namespace fern
