#include "framework/ops/checks.h"
#include "framework/ops/work.h"
#include "framework/sparsity/plain_product.h"
#include "framework/sparsity/sparse_product.h"

namespace fern {

namespace {

// Checks one call's arguments; `y` and `x` are the activations on either side of the weight.
void expect_product(std::string_view op, const Stream& stream, const Pattern& pattern, const Tensor& y_TO,
                    const Tensor& x_TI, const Tensor& values_N) {
  expect_on_cpu(op, stream, {y_TO, x_TI, values_N});
  expect_rank(op, "x", x_TI, 2);
  const int64_t tokens = x_TI.dim(0);
  expect_tensor(op, "x", x_TI, x_TI.dtype(), {tokens, pattern.columns()});
  expect_tensor(op, "y", y_TO, x_TI.dtype(), {tokens, pattern.rows()});
  expect_tensor(op, "values", values_N, wide_of(x_TI.dtype()), {pattern.nonzeros()});
}

OpWork sparse_work(const Pattern& pattern, const Tensor& y_TO, const Tensor& x_TI, const Tensor& values_N) {
  return {.flops = 2.0 * static_cast<double>(x_TI.dim(0)) * static_cast<double>(pattern.nonzeros()),
          .bytes = static_cast<double>(y_TO.bytes() + x_TI.bytes() + values_N.bytes() + pattern.bytes()),
          .rows = pattern.rows(),
          .columns = pattern.columns()};
}

}  // namespace

SparseProduct::SparseProduct(const Pattern& pattern) : pattern_(&pattern) {
  if (CsrProduct::handles(pattern))
    csr_.emplace(pattern);
  else if (BlockProduct::handles(pattern))
    block_.emplace(pattern);
}

size_t SparseProduct::index_bytes() const {
  return csr_ ? csr_->index_bytes() : block_ ? block_->index_bytes() : 0;
}

void SparseProduct::forward(Tensor y_TO, const Tensor& x_TI, const Tensor& values_N, Stream& stream) const {
  expect_product("sparse_forward", stream, *pattern_, y_TO, x_TI, values_N);
  const OpTimer timer(stream, "sparse_forward", sparse_work(*pattern_, y_TO, x_TI, values_N));
  with_float_type("sparse_forward", x_TI.dtype(), [&]<typename T>() {
    if constexpr (!std::is_same_v<T, double>) {
      if (csr_) return csr_->forward(y_TO.as<T>(), x_TI.as<T>(), values_N.as<float>(), x_TI.dim(0));
      if (block_) return block_->forward(y_TO.as<T>(), x_TI.as<T>(), values_N.as<float>(), x_TI.dim(0));
    }
    plain_forward(y_TO.as<T>(), x_TI.as<T>(), values_N.as<Wide<T>>(), *pattern_, x_TI.dim(0));
  });
}

void SparseProduct::backward_input(Tensor dx_TI, const Tensor& dy_TO, const Tensor& values_N,
                                   Stream& stream) const {
  expect_product("sparse_backward_input", stream, *pattern_, dy_TO, dx_TI, values_N);
  const OpTimer timer(stream, "sparse_backward_input", sparse_work(*pattern_, dy_TO, dx_TI, values_N));
  with_float_type("sparse_backward_input", dx_TI.dtype(), [&]<typename T>() {
    if constexpr (!std::is_same_v<T, double>) {
      if (csr_) return csr_->backward_input(dx_TI.as<T>(), dy_TO.as<T>(), values_N.as<float>(), dx_TI.dim(0));
      if (block_)
        return block_->backward_input(dx_TI.as<T>(), dy_TO.as<T>(), values_N.as<float>(), dx_TI.dim(0));
    }
    plain_backward_input(dx_TI.as<T>(), dy_TO.as<T>(), values_N.as<Wide<T>>(), *pattern_, dx_TI.dim(0));
  });
}

void SparseProduct::backward_weight(Tensor dvalues_N, const Tensor& dy_TO, const Tensor& x_TI,
                                    Stream& stream) const {
  expect_product("sparse_backward_weight", stream, *pattern_, dy_TO, x_TI, dvalues_N);
  const OpTimer timer(stream, "sparse_backward_weight", sparse_work(*pattern_, dy_TO, x_TI, dvalues_N));
  with_float_type("sparse_backward_weight", x_TI.dtype(), [&]<typename T>() {
    if constexpr (!std::is_same_v<T, double>) {
      if (csr_) return csr_->backward_weight(dvalues_N.as<float>(), dy_TO.as<T>(), x_TI.as<T>(), x_TI.dim(0));
      if (block_)
        return block_->backward_weight(dvalues_N.as<float>(), dy_TO.as<T>(), x_TI.as<T>(), x_TI.dim(0));
    }
    plain_backward_weight(dvalues_N.as<Wide<T>>(), dy_TO.as<T>(), x_TI.as<T>(), *pattern_, x_TI.dim(0));
  });
}

}  // namespace fern
