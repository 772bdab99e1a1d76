#include <cblas.h>
#include <dnnl.h>

#include "framework/ops/f32_product.h"

namespace fern {

namespace {

CBLAS_TRANSPOSE order_of(Operand<float> operand) { return operand.transposed ? CblasTrans : CblasNoTrans; }

}  // namespace

bool library_is_fast_for_f32() {
  static const bool is_fast =
      (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
  return is_fast;
}

bool f32_product(float* c, int64_t c_stride, Operand<float> a, Operand<float> b, ProductSize size,
                 bool accumulate) {
  const float beta = accumulate ? 1.0F : 0.0F;
  if (library_is_fast_for_f32())
    return dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', size.rows, size.columns, size.depth,
                      1.0F, a.data, a.stride, b.data, b.stride, beta, c, c_stride) == dnnl_success;
  // Threads of its own would multiply beside ours, and bits would depend on their number.
  static const bool alone = (openblas_set_num_threads(1), true);
  static_cast<void>(alone);
  const auto integer = [](int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, order_of(a), order_of(b), integer(size.rows), integer(size.columns),
              integer(size.depth), 1.0F, a.data, integer(a.stride), b.data, integer(b.stride), beta, c,
              integer(c_stride));
  return true;
}

}  // namespace fern
