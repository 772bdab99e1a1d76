// What the unstructured kernels read beside a pattern: where the runs of each band begin (csr_kernels.h), and
// the same weights sorted by column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// Rows are outputs, bands are columns; columns and values are the pattern's own.
class CsrView {
 public:
  // The pattern is borrowed. REQUIRES: blocks of 1 x 1, at most 2^32 - 1 weights.
  explicit CsrView(const Pattern& pattern);
  CsrRuns runs() const;  // all but the values
  size_t bytes() const;

 private:
  const Pattern* pattern_;
  int64_t band_inputs_;
  std::vector<int64_t> origin_;      // zeros: columns are numbered from the first one
  std::vector<uint32_t> run_begin_;  // rows x bands, and the end
};

// Columns are outputs, bands are rows, as many as have at most 2^16 weights: within a band, 16 bits number
// the row of a weight and its place among the pattern's values.
class TransposedCsrView {
 public:
  explicit TransposedCsrView(const Pattern& pattern);  // as above
  CsrRuns runs() const;
  // The pattern's values in the order of this view; T is float, or BF16 to round them.
  template <typename T>
  void arrange(T* arranged_N, const float* values_N) const;
  size_t bytes() const;

 private:
  void cut(const Pattern& pattern);
  void sort_band(const Pattern& pattern, size_t band);

  int64_t outputs_, inputs_;
  std::vector<int64_t> origin_;      // the first row of each band, and the number of rows
  std::vector<uint32_t> run_begin_;  // bands x columns, and the end
  std::vector<uint16_t> row_, source_;
};

}  // namespace fern
