#include "framework/sparsity/kernels/block_kernels.h"

namespace fern {

namespace portable {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
}  // namespace portable
namespace avx2 {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
}  // namespace avx2
namespace avx512 {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
}  // namespace avx512
namespace avx512_bf16 {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
}  // namespace avx512_bf16

template <>
const BlockKernels<float>& block_kernels(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512Bf16:
      return avx512_bf16::kBlockF32;
    case SimdLevel::kAvx512:
      return avx512::kBlockF32;
    case SimdLevel::kAvx2:
      return avx2::kBlockF32;
    case SimdLevel::kPortable:
      break;
  }
  return portable::kBlockF32;
}

template <>
const BlockKernels<BF16>& block_kernels(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512Bf16:
      return avx512_bf16::kBlockBF16;
    case SimdLevel::kAvx512:
      return avx512::kBlockBF16;
    case SimdLevel::kAvx2:
      return avx2::kBlockBF16;
    case SimdLevel::kPortable:
      break;
  }
  return portable::kBlockBF16;
}

}  // namespace fern
