// What is watched of sparse weights while they train.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/sparsity/pattern.h"
#include "framework/train/reducers.h"

namespace fern {

// One weight matrix.
struct WeightMetrics {
  std::string name;
  int64_t elements = 0, nonzeros = 0;           // if all weights existed, and that do
  int64_t active_rows = 0, active_columns = 0;  // with a weight at least
  int64_t ever_active = 0;                      // weights that exist or once did (Liu et al. 2021, section 3)
  int64_t grown = 0;         // by the update after this step; of its nonzeros, they are the churn
  double gradient_norm = 0;  // of the weights that existed in this step

  bool operator==(const WeightMetrics&) const = default;
};

// All sparse weights after one step.
struct SparsityMetrics {
  std::vector<WeightMetrics> weights;

  double density() const;
  double churn() const;
  double ever_active() const;  // share of all weights
  // Effective gradient flow: the mean of the gradient norms of active weights (Tessera et al. 2021, section
  // 3).
  double gradient_flow() const;
};

// Which blocks of a matrix exist or once did: a bit each.
class EverActive {
 public:
  EverActive(int64_t rows, int64_t columns, BlockShape block);
  // REQUIRES: a pattern of the matrix and block.
  void add(const Pattern& pattern);
  int64_t weights() const;
  const std::vector<uint64_t>& bits() const { return bits_; }
  // Errors: they are of another matrix.
  void restore(const std::vector<uint64_t>& bits);
  size_t bytes() const { return bits_.size() * sizeof(uint64_t); }

 private:
  int64_t block_columns_, block_elements_;
  std::vector<uint64_t> bits_;
};

// Rows and columns of a matrix with a weight at least.
struct ActiveNeurons {
  int64_t rows = 0, columns = 0;
};
ActiveNeurons active_neurons(const Pattern& pattern);

// Which of the shares of every matrix is here.
struct ShareNumber {
  int64_t share = 0, shares = 1;
};

// The norm of the summed gradient of each listed parameter of `whole`, of which `parameters` are here, with
// the same bits for every layout of processes that has as many shares of matrices. `counted` is this
// process's (GradReducer); all processes call it.
std::vector<double> gradient_norms(const Parameters& parameters, const Parameters& whole,
                                   std::span<const int> indices, const Slices& counted, ShareNumber share,
                                   ScalarReducer& scalars);

}  // namespace fern
