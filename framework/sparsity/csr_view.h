// What the unstructured kernels read beside a pattern: its weights as runs (csr_kernels.h), and the same
// weights sorted by column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "framework/sparsity/csr_run_table.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// Rows are outputs, bands are columns.
class CsrView {
 public:
  // The pattern is borrowed. REQUIRES: blocks of 1 x 1, at most 2^32 - 1 weights.
  explicit CsrView(const Pattern& pattern);

  // All but the values: in the pattern's order, or in that of the runs with what arrange() made of columns.
  CsrRuns runs() const;
  CsrRuns runs(const uint16_t* arranged_columns_N) const;

  void arrange(uint16_t* arranged_columns_N) const;
  // With the values; T is float, or BF16 to round them.
  template <typename T>
  void arrange(uint16_t* arranged_columns_N, T* arranged_N, const float* values_N) const;
  // values += what is in the order of the runs, for one cell.
  void add_arranged(float* values_N, const float* arranged_N, int64_t cell) const;

  size_t bytes() const { return table_.bytes(); }

 private:
  const Pattern* pattern_;
  int64_t band_inputs_;
  CsrRunTable table_;
};

// Columns are outputs, bands are rows, as many as have at most 2^16 weights: within a band, 16 bits number
// the row of a weight and its place among the pattern's values.
class TransposedCsrView {
 public:
  explicit TransposedCsrView(const Pattern& pattern);  // as above
  CsrRuns runs() const;                                // all but the values, in the order of the runs
  template <typename T>
  void arrange(T* arranged_N, const float* values_N) const;  // as above
  size_t bytes() const;

 private:
  void order_runs(const Pattern& pattern);
  void fill_band(const Pattern& pattern, int64_t band);

  int64_t outputs_, inputs_;
  CsrRunTable table_;
  std::vector<uint32_t> band_begin_;  // the first weight of each band in the pattern's order, and the end
  std::vector<uint16_t> row_, source_;
};

}  // namespace fern
