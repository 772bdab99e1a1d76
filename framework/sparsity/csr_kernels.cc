#include "framework/sparsity/kernels/csr_kernels.h"

namespace fern {

namespace portable {
extern const CsrKernels<float> kCsrF32;
extern const CsrKernels<BF16> kCsrBF16;
}  // namespace portable
namespace avx2 {
extern const CsrKernels<float> kCsrF32;
extern const CsrKernels<BF16> kCsrBF16;
}  // namespace avx2
namespace avx512 {
extern const CsrKernels<float> kCsrF32;
extern const CsrKernels<BF16> kCsrBF16;
}  // namespace avx512
namespace avx512_bf16 {
extern const CsrKernels<float> kCsrF32;
extern const CsrKernels<BF16> kCsrBF16;
}  // namespace avx512_bf16

template <>
const CsrKernels<float>& csr_kernels(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512Bf16:
      return avx512_bf16::kCsrF32;
    case SimdLevel::kAvx512:
      return avx512::kCsrF32;
    case SimdLevel::kAvx2:
      return avx2::kCsrF32;
    case SimdLevel::kPortable:
      break;
  }
  return portable::kCsrF32;
}

template <>
const CsrKernels<BF16>& csr_kernels(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512Bf16:
      return avx512_bf16::kCsrBF16;
    case SimdLevel::kAvx512:
      return avx512::kCsrBF16;
    case SimdLevel::kAvx2:
      return avx2::kCsrBF16;
    case SimdLevel::kPortable:
      break;
  }
  return portable::kCsrBF16;
}

}  // namespace fern
