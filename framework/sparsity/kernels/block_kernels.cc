// Compiled once per instruction set (vector.h).
#include "framework/sparsity/kernels/block_kernels.h"

#include "framework/sparsity/kernels/block_strips.h"
#include "framework/sparsity/kernels/block_sums.h"

namespace fern::FERN_SIMD_NAMESPACE {

extern const BlockKernels<float> kBlockF32 = {kSumTokens, product<float>, fill_strips<float>,
                                              add_gradient<float>};
extern const BlockKernels<BF16> kBlockBF16 = {kSumTokens, product<BF16>, fill_strips<BF16>,
                                              add_gradient<BF16>};
extern const BlockPairKernels kBlockPairs = {pack_pairs, product_of_pairs};

}  // namespace fern::FERN_SIMD_NAMESPACE
