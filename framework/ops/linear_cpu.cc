#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <atomic>

#include "framework/ops/checks.h"
#include "framework/ops/linear.h"

namespace fern {

namespace {

// One operand of a product: element (row, column) of op(matrix), where `transposed` reads it across.
template <typename T>
struct Operand {
  const T* data;
  int64_t stride;
  bool transposed;
  const T* at(int64_t row, int64_t column) const {
    return transposed ? data + column * stride + row : data + row * stride + column;
  }
};

struct Size {
  int64_t rows, columns, depth;
};

// C (+)= A B for one block of the output, on the calling thread.
bool block_product(float* c, int64_t c_stride, Operand<float> a, Operand<float> b, Size size,
                   bool accumulate) {
  return dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', size.rows, size.columns, size.depth,
                    1.0F, a.data, a.stride, b.data, b.stride, accumulate ? 1.0F : 0.0F, c,
                    c_stride) == dnnl_success;
}

// The plain product, for checking gradients.
bool block_product(double* c, int64_t c_stride, Operand<double> a, Operand<double> b, Size size,
                   bool accumulate) {
  for (int64_t i = 0; i < size.rows; ++i)
    for (int64_t j = 0; j < size.columns; ++j) {
      double sum = accumulate ? c[i * c_stride + j] : 0.0;
      for (int64_t k = 0; k < size.depth; ++k) sum += *a.at(i, k) * *b.at(k, j);
      c[i * c_stride + j] = sum;
    }
  return true;
}

// The library splits the depth of some products over its threads, which changes their bits. So the output is
// cut into blocks that depend on its size only, and each is a product on one thread. A transposed B costs
// more to pack: it is reused over more rows.
template <typename T>
void product(T* c, Operand<T> a, Operand<T> b, Size size, bool accumulate) {
  const int64_t block_rows = b.transposed ? 512 : 256, block_columns = 384;
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
      const Size part = {std::min(block_rows, size.rows - row),
                         std::min(block_columns, size.columns - column), size.depth};
      if (!block_product(c + row * size.columns + column, size.columns,
                         {a.at(row, 0), a.stride, a.transposed}, {b.at(0, column), b.stride, b.transposed},
                         part, accumulate))
        done = false;
    }
  }
  expect(done, "[linear] oneDNN refused a product of {} x {} x {}", size.rows, size.columns, size.depth);
}

struct Sizes {
  int64_t tokens, inputs, outputs;
};

Sizes checked(std::string_view op, const Stream& stream, const Tensor& y_TO, const Tensor& x_TI,
              const Tensor& w_OI, std::string_view y_name, std::string_view x_name, std::string_view w_name) {
  expect_on_cpu(op, stream, {y_TO, x_TI, w_OI});
  expect_rank(op, x_name, x_TI, 2);
  expect_rank(op, w_name, w_OI, 2);
  const Sizes sizes = {x_TI.dim(0), w_OI.dim(1), w_OI.dim(0)};
  expect_tensor(op, x_name, x_TI, w_OI.dtype(), {sizes.tokens, sizes.inputs});
  expect_tensor(op, y_name, y_TO, w_OI.dtype(), {sizes.tokens, sizes.outputs});
  return sizes;
}

}  // namespace

void linear_forward(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, Stream& stream) {
  const auto [tokens, inputs, outputs] = checked("linear_forward", stream, y_TO, x_TI, w_OI, "y", "x", "w");
  const Size size = {tokens, outputs, inputs};
  with_float_type("linear_forward", w_OI.dtype(), [&]<typename T>() {
    product<T>(y_TO.as<T>(), {x_TI.as<T>(), size.depth, false}, {w_OI.as<T>(), size.depth, true}, size,
               false);
  });
}

void linear_backward_input(Tensor dx_TI, const Tensor& dy_TO, const Tensor& w_OI, bool accumulate,
                           Stream& stream) {
  const auto [tokens, inputs, outputs] =
      checked("linear_backward_input", stream, dy_TO, dx_TI, w_OI, "dy", "dx", "w");
  const Size size = {tokens, inputs, outputs};
  with_float_type("linear_backward_input", w_OI.dtype(), [&]<typename T>() {
    product<T>(dx_TI.as<T>(), {dy_TO.as<T>(), size.depth, false}, {w_OI.as<T>(), size.columns, false}, size,
               accumulate);
  });
}

void linear_backward_weight(Tensor dw_OI, const Tensor& dy_TO, const Tensor& x_TI, Stream& stream) {
  const auto [tokens, inputs, outputs] =
      checked("linear_backward_weight", stream, dy_TO, x_TI, dw_OI, "dy", "x", "dw");
  const Size size = {outputs, inputs, tokens};
  with_float_type("linear_backward_weight", dw_OI.dtype(), [&]<typename T>() {
    product<T>(dw_OI.as<T>(), {dy_TO.as<T>(), size.rows, true}, {x_TI.as<T>(), size.columns, false}, size,
               true);
  });
}

}  // namespace fern
