// How many blocks of each weight exist: one budget, shared out exactly.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/sparsity/sparsity_config.h"

namespace fern {

// A weight matrix that is to be sparse.
struct SparseWeight {
  std::string name;
  int64_t rows = 0, columns = 0;
  BlockShape block = {};
  int64_t block_rows() const { return rows / block.rows; }
  int64_t block_columns() const { return columns / block.columns; }
  int64_t blocks() const { return block_rows() * block_columns(); }  // of the whole matrix
};

// Blocks of each weight, in order. `progress` is the share of the way from initial_sparsity to the final one.
//
// Unstructured and blocks: the sum is (1 - sparsity) x all blocks, rounded once; the distribution's shares
// are rounded by largest remainder. Erdos-Renyi gives density ~ (rows + columns) / (rows * columns), at most
// 1, and what a full weight cannot take goes to the others (Evci et al. 2020, section 3). Fan-in rounds the
// weights of a row; n_of_m keeps at least n of each m; a butterfly takes the most strides that fit. Weights
// of sparsity.layers round their own share.
//
// Errors (kBadUsage): blocks that do not divide a weight, m that does not divide its columns, a weight that
// would be left without any, a name of sparsity.layers that fits no weight.
std::vector<int64_t> block_budget(const SparsityConfig& config, std::span<const SparseWeight> weights,
                                  double progress = 1);

// Whole numbers next to `shares` that sum to `total`, the shares' own sum: the largest remainders are rounded
// up, ties the first.
std::vector<int64_t> largest_remainders(const std::vector<double>& shares, int64_t total);

}  // namespace fern
