#include "framework/sparsity/csr_view.h"

#include <algorithm>

namespace fern {

namespace {

// Columns are numbered from the first one, whatever the band.
std::vector<int64_t> zero_for_each_band(int64_t columns, int64_t band) {
  return std::vector<int64_t>(static_cast<size_t>(std::max<int64_t>((columns + band - 1) / band, 1)), 0);
}

// The first row of each band, each with at most 2^16 weights.
std::vector<int64_t> bands_of_rows(const Pattern& pattern) {
  const int64_t step = csr_band_inputs(pattern, pattern.rows());
  const auto begin = pattern.row_begin();
  std::vector<int64_t> origin = {0};
  for (int64_t row = 1; row < pattern.rows(); ++row) {
    const auto first = static_cast<size_t>(origin.back()), next = static_cast<size_t>(row) + 1;
    if (row - origin.back() == step || begin[next] - begin[first] > kMostBlockColumns) origin.push_back(row);
  }
  return origin;
}

// visit(i, j) for every weight: i-th in the order of the runs, j-th in the pattern's.
template <typename Visit>
void for_each_weight(const CsrRunTable& table, const Visit& visit) {
#pragma omp parallel for schedule(static)
  for (int64_t cell = 0; cell < table.cells(); ++cell)
    table.for_each_run(cell, [&](const CsrRun& run, uint32_t at) {
      for (uint32_t i = 0; i < run.count; ++i) visit(at + i, run.begin + i);
    });
}

}  // namespace

CsrView::CsrView(const Pattern& pattern)
    : pattern_(&pattern),
      band_inputs_(csr_band_inputs(pattern, pattern.columns())),
      table_(pattern.rows(), zero_for_each_band(pattern.columns(), band_inputs_)) {
  const auto row_begin = pattern.row_begin();
  std::vector<int64_t> next;  // the weight of each row of a group that the next band begins with
  for (int64_t first = 0; first < pattern.rows(); first += table_.group_outputs()) {
    const int64_t rows = std::min(table_.group_outputs(), pattern.rows() - first);
    next.assign(row_begin.begin() + first, row_begin.begin() + first + rows);
    for (int64_t band = 0; band < table_.bands(); ++band) {
      for (int64_t row = 0; row < rows; ++row) {
        int64_t& begin = next[static_cast<size_t>(row)];
        const auto columns = pattern.row(first + row);
        const auto from = columns.begin() + (begin - row_begin[static_cast<size_t>(first + row)]);
        const int64_t count = std::lower_bound(from, columns.end(), (band + 1) * band_inputs_) - from;
        table_.add({static_cast<uint32_t>(begin), static_cast<uint16_t>(row), static_cast<uint16_t>(count)});
        begin += count;
      }
      table_.finish_cell();
    }
  }
  table_.finish();
}

CsrRuns CsrView::runs() const {
  CsrRuns in_place = runs(pattern_->column_index().data());
  in_place.first_weight = nullptr;
  return in_place;
}

CsrRuns CsrView::runs(const uint16_t* arranged_columns_N) const {
  CsrRuns runs = table_.runs(pattern_->columns());
  runs.band_inputs = band_inputs_;
  runs.index = arranged_columns_N;
  return runs;
}

void CsrView::arrange(uint16_t* arranged_columns_N) const {
  const uint16_t* columns = pattern_->column_index().data();
  for_each_weight(table_, [=](uint32_t i, uint32_t j) { arranged_columns_N[i] = columns[j]; });
}

template <typename T>
void CsrView::arrange(uint16_t* arranged_columns_N, T* arranged_N, const float* values_N) const {
  const uint16_t* columns = pattern_->column_index().data();
  for_each_weight(table_, [=](uint32_t i, uint32_t j) {
    arranged_columns_N[i] = columns[j];
    arranged_N[i] = narrow<T>(values_N[j]);
  });
}

void CsrView::add_arranged(float* values_N, const float* arranged_N, int64_t cell) const {
  table_.for_each_run(cell, [&](const CsrRun& run, uint32_t at) {
    for (uint32_t i = 0; i < run.count; ++i) values_N[run.begin + i] += arranged_N[at + i];
  });
}

TransposedCsrView::TransposedCsrView(const Pattern& pattern)
    : outputs_(pattern.columns()),
      inputs_(pattern.rows()),
      table_(outputs_, bands_of_rows(pattern)),
      row_(static_cast<size_t>(pattern.nonzeros())),
      source_(static_cast<size_t>(pattern.nonzeros())) {
  for (const int64_t row : table_.origin())
    band_begin_.push_back(static_cast<uint32_t>(pattern.row_begin()[static_cast<size_t>(row)]));
  band_begin_.push_back(static_cast<uint32_t>(pattern.nonzeros()));
  order_runs(pattern);
  for (int64_t band = 0; band < table_.bands(); ++band) fill_band(pattern, band);
}

// Counts the weights of each column in each band, and lays the runs one after another.
void TransposedCsrView::order_runs(const Pattern& pattern) {
  const auto bands = static_cast<size_t>(table_.bands()), columns = static_cast<size_t>(outputs_);
  std::vector<uint16_t> count(bands * columns, 0);
  for (size_t band = 0; band < bands; ++band)
    for (uint32_t i = band_begin_[band]; i < band_begin_[band + 1]; ++i)
      ++count[band * columns + pattern.column_index()[i]];
  for (int64_t first = 0; first < outputs_; first += table_.group_outputs()) {
    const int64_t outputs = std::min(table_.group_outputs(), outputs_ - first);
    for (size_t band = 0; band < bands; ++band) {
      const uint16_t* of_group = count.data() + band * columns + first;
      for (int64_t output = 0; output < outputs; ++output)
        table_.add({0, static_cast<uint16_t>(output), of_group[output]});
      table_.finish_cell();
    }
  }
  table_.finish();
}

void TransposedCsrView::fill_band(const Pattern& pattern, int64_t band) {
  std::vector<uint32_t> next(static_cast<size_t>(outputs_), 0);
  for (int64_t cell = band; cell < table_.cells(); cell += table_.bands()) {
    uint32_t* of_group = next.data() + cell / table_.bands() * table_.group_outputs();
    table_.for_each_run(cell, [&](const CsrRun& run, uint32_t at) { of_group[run.output] = at; });
  }
  const int64_t first = table_.origin()[static_cast<size_t>(band)],
                last = band + 1 < table_.bands() ? table_.origin()[static_cast<size_t>(band) + 1] : inputs_;
  uint16_t source = 0;
  for (int64_t row = first; row < last; ++row)
    for (const uint16_t column : pattern.row(row)) {
      const uint32_t place = next[column]++;
      row_[place] = static_cast<uint16_t>(row - first);
      source_[place] = source++;
    }
}

CsrRuns TransposedCsrView::runs() const {
  CsrRuns runs = table_.runs(inputs_);
  runs.index = row_.data();
  return runs;
}

template <typename T>
void TransposedCsrView::arrange(T* arranged_N, const float* values_N) const {
#pragma omp parallel for schedule(static)
  for (int64_t cell = 0; cell < table_.cells(); ++cell) {
    const float* values = values_N + band_begin_[static_cast<size_t>(cell % table_.bands())];
    for (uint32_t i = table_.first_weight(cell); i < table_.first_weight(cell + 1); ++i)
      arranged_N[i] = narrow<T>(values[source_[i]]);
  }
}

size_t TransposedCsrView::bytes() const {
  return table_.bytes() + (band_begin_.size() * sizeof(uint32_t)) +
         ((row_.size() + source_.size()) * sizeof(uint16_t));
}

template void CsrView::arrange(uint16_t*, float*, const float*) const;
template void CsrView::arrange(uint16_t*, BF16*, const float*) const;
template void TransposedCsrView::arrange(float*, const float*) const;
template void TransposedCsrView::arrange(BF16*, const float*) const;

}  // namespace fern
