// The runs of a matrix (kernels/csr_kernels.h), cell by cell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// Width of the bands of `inputs`, the pattern's rows or columns: few enough inputs that their tile of tokens
// lies near the first cache, and enough that a run pays for fetching its sum.
int64_t csr_band_inputs(const Pattern& pattern, int64_t inputs);

class CsrRunTable {
 public:
  // Without cells. `origin` is the first input of each band.
  CsrRunTable(int64_t outputs, std::vector<int64_t> origin);

  // A cell is made of the runs added since the last one: groups one after another, in each all bands. Empty
  // runs count in the first band only.
  void add(const CsrRun& run);
  void finish_cell();
  void finish();

  int64_t group_outputs() const { return group_outputs_; }
  const std::vector<int64_t>& origin() const { return origin_; }
  int64_t bands() const { return static_cast<int64_t>(origin_.size()); }
  int64_t cells() const { return static_cast<int64_t>(first_run_.size()) - 1; }
  // The first weight of a cell in the order of the runs; cells() may be asked for too.
  uint32_t first_weight(int64_t cell) const { return first_weight_[static_cast<size_t>(cell)]; }

  // visit(run, its first weight in the order of the runs) for those of one cell.
  template <typename Visit>
  void for_each_run(int64_t cell, const Visit& visit) const {
    uint32_t at = first_weight(cell);
    for (uint32_t i = first_run_[static_cast<size_t>(cell)]; i < first_run_[static_cast<size_t>(cell) + 1];
         ++i) {
      visit(runs_[i], at);
      at += runs_[i].count;
    }
  }

  // In the order of the runs, without index, values and band_inputs.
  CsrRuns runs(int64_t inputs) const;
  size_t bytes() const;

 private:
  void mark_cell();

  int64_t outputs_, group_outputs_;
  std::vector<int64_t> origin_;
  std::vector<uint32_t> first_run_, first_weight_;  // of each cell, and the end
  std::vector<CsrRun> runs_;                        // with kCsrRunsAhead empty ones after the last
  std::vector<CsrRun> cell_;                        // not finished yet
  uint32_t weights_ = 0;
};

}  // namespace fern
