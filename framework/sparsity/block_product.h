// The three products of a pattern of blocks. Shapes as in sparse_product.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "framework/core/bf16.h"
#include "framework/sparsity/kernels/block_kernels.h"
#include "framework/sparsity/pattern.h"

namespace fern {

class BlockProduct {
 public:
  // Whether this class handles the pattern: blocks of a multiple of kBlockStep rows and columns, at most 2^16
  // rows of blocks, fewer than 2^32 blocks.
  static bool handles(const Pattern& pattern);
  // Borrows the pattern. REQUIRES handles(pattern).
  explicit BlockProduct(const Pattern& pattern);

  // T is float or BF16; pointers are to contiguous activations of `tokens` tokens.
  template <typename T>
  void forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const;
  template <typename T>
  void backward_input(T* dx_TI, const T* dy_TO, const float* values_N, int64_t tokens) const;
  template <typename T>
  void backward_weight(float* dvalues_N, const T* dy_TO, const T* x_TI, int64_t tokens) const;

  size_t index_bytes() const;  // beside Pattern::bytes()

 private:
  BlockRuns runs_of_rows(const float* values_N) const;
  // Of the transposed view, but with the values in the pattern's order: to be arranged by `blocks_` first.
  BlockRuns runs_of_columns(const float* values_N) const;

  const Pattern* pattern_;
  // The transposed view: the blocks of one column of blocks, by their row, and their place among the blocks.
  std::vector<int64_t> column_begin_;
  std::vector<uint16_t> rows_;
  std::vector<uint32_t> blocks_;
};

}  // namespace fern
