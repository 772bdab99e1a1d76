#include "framework/sparsity/csr_view.h"

#include <algorithm>
#include <cmath>

namespace fern {

namespace {

// Width of the bands of `inputs`: few enough inputs that their tile of tokens lies near the first cache, and
// enough that a run pays for fetching its sum. Bands are about equally wide.
int64_t band_inputs(const Pattern& pattern, int64_t inputs) {
  constexpr double kRun = 26;
  const double fitting = std::clamp(kRun / std::max(pattern.density(), 1e-6), 64.0, 256.0);
  const double bands = std::max(std::round(static_cast<double>(inputs) / fitting), 1.0);
  return std::max<int64_t>(static_cast<int64_t>(std::ceil(static_cast<double>(inputs) / bands / 16)), 1) * 16;
}

template <typename T>
size_t bytes_of(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

}  // namespace

CsrView::CsrView(const Pattern& pattern)
    : pattern_(&pattern), band_inputs_(band_inputs(pattern, pattern.columns())) {
  const int64_t step = band_inputs_, bands = std::max<int64_t>((pattern.columns() + step - 1) / step, 1);
  origin_.assign(static_cast<size_t>(bands), 0);
  run_begin_.reserve(static_cast<size_t>((pattern.rows() + kCsrRunsAhead) * bands + 1));
  for (int64_t row = 0; row < pattern.rows(); ++row) {
    const auto columns = pattern.row(row);
    const int64_t before = pattern.row_begin()[static_cast<size_t>(row)];
    for (int64_t band = 0; band < bands; ++band)
      run_begin_.push_back(static_cast<uint32_t>(
          before + (std::lower_bound(columns.begin(), columns.end(), band * step) - columns.begin())));
  }
  run_begin_.resize(run_begin_.size() + static_cast<size_t>(kCsrRunsAhead * bands) + 1,
                    static_cast<uint32_t>(pattern.nonzeros()));
}

CsrRuns CsrView::runs() const {
  const auto bands = static_cast<int64_t>(origin_.size());
  return {.outputs = pattern_->rows(),
          .inputs = pattern_->columns(),
          .bands = bands,
          .band_inputs = band_inputs_,
          .origin = origin_.data(),
          .run_begin = run_begin_.data(),
          .output_step = bands,
          .band_step = 1,
          .index = pattern_->column_index().data(),
          .values = nullptr};
}

size_t CsrView::bytes() const { return bytes_of(origin_) + bytes_of(run_begin_); }

TransposedCsrView::TransposedCsrView(const Pattern& pattern)
    : outputs_(pattern.columns()),
      inputs_(pattern.rows()),
      row_(static_cast<size_t>(pattern.nonzeros())),
      source_(static_cast<size_t>(pattern.nonzeros())) {
  cut(pattern);
  const size_t bands = origin_.size() - 1;
  run_begin_.assign(bands * static_cast<size_t>(outputs_) + kCsrRunsAhead + 1,
                    static_cast<uint32_t>(pattern.nonzeros()));
  for (size_t band = 0; band < bands; ++band) sort_band(pattern, band);
}

void TransposedCsrView::cut(const Pattern& pattern) {
  const int64_t step = band_inputs(pattern, inputs_);
  const auto begin = pattern.row_begin();
  origin_ = {0};
  for (int64_t row = 1; row < inputs_; ++row) {
    const auto first = static_cast<size_t>(origin_.back()), next = static_cast<size_t>(row) + 1;
    if (row - origin_.back() == step || begin[next] - begin[first] > kMostBlockColumns)
      origin_.push_back(row);
  }
  origin_.push_back(inputs_);
}

// Counts the weights of each column, and then puts them one after another.
void TransposedCsrView::sort_band(const Pattern& pattern, size_t band) {
  const int64_t first = origin_[band], last = origin_[band + 1];
  const auto before = static_cast<uint32_t>(pattern.row_begin()[static_cast<size_t>(first)]);
  std::vector<uint32_t> next(static_cast<size_t>(outputs_) + 1, 0);
  for (int64_t row = first; row < last; ++row)
    for (const uint16_t column : pattern.row(row)) ++next[column + size_t{1}];
  next[0] = before;
  for (size_t column = 0; column < static_cast<size_t>(outputs_); ++column) next[column + 1] += next[column];
  std::copy(next.begin(), next.end() - 1, run_begin_.begin() + static_cast<int64_t>(band) * outputs_);
  uint32_t source = 0;
  for (int64_t row = first; row < last; ++row)
    for (const uint16_t column : pattern.row(row)) {
      const uint32_t place = next[column]++;
      row_[place] = static_cast<uint16_t>(row - first);
      source_[place] = static_cast<uint16_t>(source++);
    }
}

CsrRuns TransposedCsrView::runs() const {
  return {.outputs = outputs_,
          .inputs = inputs_,
          .bands = static_cast<int64_t>(origin_.size()) - 1,
          .band_inputs = 0,
          .origin = origin_.data(),
          .run_begin = run_begin_.data(),
          .output_step = 1,
          .band_step = outputs_,
          .index = row_.data(),
          .values = nullptr};
}

template <typename T>
void TransposedCsrView::arrange(T* arranged_N, const float* values_N) const {
#pragma omp parallel for schedule(static)
  for (size_t band = 0; band < origin_.size() - 1; ++band) {
    const size_t begin = run_begin_[band * static_cast<size_t>(outputs_)],
                 end = run_begin_[(band + 1) * static_cast<size_t>(outputs_)];
    for (size_t i = begin; i < end; ++i) arranged_N[i] = narrow<T>(values_N[begin + source_[i]]);
  }
}

size_t TransposedCsrView::bytes() const {
  return bytes_of(origin_) + bytes_of(run_begin_) + bytes_of(row_) + bytes_of(source_);
}

template void TransposedCsrView::arrange(float*, const float*) const;
template void TransposedCsrView::arrange(BF16*, const float*) const;

}  // namespace fern
