#include "framework/sparsity/kernels/block_kernels.h"

#include <array>

namespace fern {

namespace portable {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
extern const BlockPairKernels kBlockPairs;
}  // namespace portable
namespace avx2 {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
extern const BlockPairKernels kBlockPairs;
}  // namespace avx2
namespace avx512 {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
extern const BlockPairKernels kBlockPairs;
}  // namespace avx512
namespace avx512_bf16 {
extern const BlockKernels<float> kBlockF32;
extern const BlockKernels<BF16> kBlockBF16;
extern const BlockPairKernels kBlockPairs;
}  // namespace avx512_bf16

namespace {

// In the order of SimdLevel.
constexpr std::array kF32 = {&portable::kBlockF32, &avx2::kBlockF32, &avx512::kBlockF32,
                             &avx512_bf16::kBlockF32};
constexpr std::array kBF16 = {&portable::kBlockBF16, &avx2::kBlockBF16, &avx512::kBlockBF16,
                              &avx512_bf16::kBlockBF16};
constexpr std::array kPairs = {&portable::kBlockPairs, &avx2::kBlockPairs, &avx512::kBlockPairs,
                               &avx512_bf16::kBlockPairs};

}  // namespace

template <>
const BlockKernels<float>& block_kernels(SimdLevel level) {
  return *kF32[static_cast<size_t>(level)];
}

template <>
const BlockKernels<BF16>& block_kernels(SimdLevel level) {
  return *kBF16[static_cast<size_t>(level)];
}

const BlockPairKernels& block_pair_kernels(SimdLevel level) { return *kPairs[static_cast<size_t>(level)]; }

}  // namespace fern
