#include "framework/sparsity/csr_view.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace fern {

namespace {

int64_t ceiling(int64_t value, int64_t step) { return (value + step - 1) / step; }

// As few inputs as fit into about equal parts, each a multiple of 16.
int64_t equal_parts(int64_t count, int64_t parts) {
  return std::max<int64_t>(ceiling(ceiling(count, std::max<int64_t>(parts, 1)), 16), 1) * 16;
}

// Width of the bands of `inputs`: few enough inputs that their tile of tokens lies near the first cache, and
// enough that a run pays for fetching its sum.
int64_t band_inputs(const Pattern& pattern, int64_t inputs) {
  constexpr double kRun = 18;
  const double fitting = std::clamp(kRun / std::max(pattern.density(), 1e-6), 64.0, 256.0);
  const double bands = std::max(std::round(static_cast<double>(inputs) / fitting), 1.0);
  return equal_parts(inputs, static_cast<int64_t>(bands));
}

// Groups as large as may be, of which threads can have equally many; none so small that its runs are hardly
// ever as long as the one before.
int64_t group_outputs(int64_t outputs) {
  constexpr int64_t kFewest = 64;
  const int64_t for_threads = std::min<int64_t>(omp_get_max_threads(), outputs / kFewest);
  return equal_parts(outputs, std::max(2 * ceiling(outputs, 2 * kCsrOutputs), for_threads));
}

template <typename T>
size_t bytes_of(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

// Adds runs to a table cell by cell: groups one after another, in each all bands.
class CellWriter {
 public:
  explicit CellWriter(CsrRunTable& table) : table_(&table) {}

  void add(const CsrRun& run, bool is_first_band) {
    if (run.count > 0 || is_first_band) cell_.push_back(run);
  }
  // The runs since the last call are a cell.
  void finish_cell() {
    begin_cell();
    std::stable_sort(cell_.begin(), cell_.end(),
                     [](const CsrRun& a, const CsrRun& b) { return a.count < b.count; });
    for (const CsrRun& run : cell_) weights_ += run.count;
    table_->runs.insert(table_->runs.end(), cell_.begin(), cell_.end());
    cell_.clear();
  }
  void finish() {
    begin_cell();
    table_->runs.insert(table_->runs.end(), kCsrRunsAhead, CsrRun{});
    table_->runs.shrink_to_fit();
  }

 private:
  void begin_cell() {
    table_->first_run.push_back(static_cast<uint32_t>(table_->runs.size()));
    table_->first_weight.push_back(weights_);
  }

  CsrRunTable* table_;
  std::vector<CsrRun> cell_;
  uint32_t weights_ = 0;
};

// visit(run, its first weight in the order of the runs) for those of one cell.
template <typename Visit>
void for_each_run(const CsrRunTable& table, size_t cell, const Visit& visit) {
  uint32_t at = table.first_weight[cell];
  for (uint32_t i = table.first_run[cell]; i < table.first_run[cell + 1]; ++i) {
    visit(table.runs[i], at);
    at += table.runs[i].count;
  }
}

// arranged[i] = narrow(from[j]) where weight j of the pattern is weight i in the order of the runs.
template <typename To, typename From, typename Narrow>
void arrange_runs(To* arranged, const From* from, const CsrRunTable& table, const Narrow& narrow_one) {
#pragma omp parallel for schedule(static)
  for (size_t cell = 0; cell < table.first_run.size() - 1; ++cell)
    for_each_run(table, cell, [&](const CsrRun& run, uint32_t at) {
      for (uint32_t i = 0; i < run.count; ++i) arranged[at + i] = narrow_one(from[run.begin + i]);
    });
}

CsrRuns runs_of(const CsrRunTable& table, int64_t outputs, int64_t inputs, int64_t bands) {
  return {.outputs = outputs,
          .inputs = inputs,
          .groups = static_cast<int64_t>(table.first_run.size() - 1) / bands,
          .bands = bands,
          .group_outputs = table.group_outputs,
          .band_inputs = 0,
          .origin = table.origin.data(),
          .first_run = table.first_run.data(),
          .runs = table.runs.data(),
          .first_weight = nullptr,
          .index = nullptr,
          .values = nullptr,
          .rounded = nullptr};
}

}  // namespace

size_t CsrRunTable::bytes() const {
  return bytes_of(origin) + bytes_of(first_run) + bytes_of(first_weight) + bytes_of(runs);
}

CsrView::CsrView(const Pattern& pattern)
    : pattern_(&pattern), band_inputs_(band_inputs(pattern, pattern.columns())) {
  const int64_t bands = std::max<int64_t>(ceiling(pattern.columns(), band_inputs_), 1);
  table_.origin.assign(static_cast<size_t>(bands), 0);  // columns are numbered from the first one
  table_.group_outputs = group_outputs(pattern.rows());
  CellWriter writer(table_);
  std::vector<uint32_t> begin;  // of the weights of each row of a group that no band has had yet
  for (int64_t first = 0; first < pattern.rows(); first += table_.group_outputs) {
    const int64_t rows = std::min(table_.group_outputs, pattern.rows() - first);
    begin.clear();
    for (int64_t row = 0; row < rows; ++row)
      begin.push_back(static_cast<uint32_t>(pattern.row_begin()[static_cast<size_t>(first + row)]));
    for (int64_t band = 0; band < bands; ++band) {
      for (int64_t row = 0; row < rows; ++row) {
        uint32_t& from = begin[static_cast<size_t>(row)];
        const auto left =
            pattern.row(first + row)
                .subspan(from - static_cast<size_t>(pattern.row_begin()[static_cast<size_t>(first + row)]));
        const auto count = static_cast<uint32_t>(
            std::lower_bound(left.begin(), left.end(), (band + 1) * band_inputs_) - left.begin());
        writer.add({from, static_cast<uint16_t>(row), static_cast<uint16_t>(count)}, band == 0);
        from += count;
      }
      writer.finish_cell();
    }
  }
  writer.finish();
}

CsrRuns CsrView::runs() const {
  CsrRuns runs =
      runs_of(table_, pattern_->rows(), pattern_->columns(), static_cast<int64_t>(table_.origin.size()));
  runs.band_inputs = band_inputs_;
  runs.index = pattern_->column_index().data();
  return runs;
}

CsrRuns CsrView::runs(const uint16_t* arranged_columns_N) const {
  CsrRuns arranged = runs();
  arranged.first_weight = table_.first_weight.data();
  arranged.index = arranged_columns_N;
  return arranged;
}

void CsrView::arrange(uint16_t* arranged_columns_N) const {
  arrange_runs(arranged_columns_N, pattern_->column_index().data(), table_,
               [](uint16_t column) { return column; });
}

template <typename T>
void CsrView::arrange(T* arranged_N, const float* values_N) const {
  arrange_runs(arranged_N, values_N, table_, [](float value) { return narrow<T>(value); });
}

void CsrView::add_arranged(float* values_N, const float* arranged_N, int64_t cell) const {
  for_each_run(table_, static_cast<size_t>(cell), [&](const CsrRun& run, uint32_t at) {
    for (uint32_t i = 0; i < run.count; ++i) values_N[run.begin + i] += arranged_N[at + i];
  });
}

TransposedCsrView::TransposedCsrView(const Pattern& pattern)
    : outputs_(pattern.columns()),
      inputs_(pattern.rows()),
      row_(static_cast<size_t>(pattern.nonzeros())),
      source_(static_cast<size_t>(pattern.nonzeros())) {
  cut(pattern);
  order_runs(pattern);
  for (size_t band = 0; band < table_.origin.size(); ++band) fill_band(pattern, band);
}

void TransposedCsrView::cut(const Pattern& pattern) {
  const int64_t step = band_inputs(pattern, inputs_);
  const auto begin = pattern.row_begin();
  auto& origin = table_.origin;
  origin = {0};
  for (int64_t row = 1; row < inputs_; ++row) {
    const auto first = static_cast<size_t>(origin.back()), next = static_cast<size_t>(row) + 1;
    if (row - origin.back() == step || begin[next] - begin[first] > kMostBlockColumns) origin.push_back(row);
  }
  for (const int64_t row : origin)
    band_weight_.push_back(static_cast<uint32_t>(begin[static_cast<size_t>(row)]));
  band_weight_.push_back(static_cast<uint32_t>(pattern.nonzeros()));
}

// Counts the weights of each column in each band, and lays the runs one after another.
void TransposedCsrView::order_runs(const Pattern& pattern) {
  const size_t bands = table_.origin.size(), columns = static_cast<size_t>(outputs_);
  std::vector<uint16_t> count(bands * columns, 0);
  for (size_t band = 0; band < bands; ++band)
    for (uint32_t i = band_weight_[band]; i < band_weight_[band + 1]; ++i)
      ++count[band * columns + pattern.column_index()[i]];
  table_.group_outputs = group_outputs(outputs_);
  CellWriter writer(table_);
  for (int64_t first = 0; first < outputs_; first += table_.group_outputs) {
    const int64_t outputs = std::min(table_.group_outputs, outputs_ - first);
    for (size_t band = 0; band < bands; ++band) {
      for (int64_t output = 0; output < outputs; ++output)
        writer.add(
            {0, static_cast<uint16_t>(output), count[band * columns + static_cast<size_t>(first + output)]},
            band == 0);
      writer.finish_cell();
    }
  }
  writer.finish();
}

void TransposedCsrView::fill_band(const Pattern& pattern, size_t band) {
  const size_t bands = table_.origin.size();
  std::vector<uint32_t> next(static_cast<size_t>(outputs_), 0);
  for (size_t cell = band; cell < table_.first_run.size() - 1; cell += bands) {
    const auto first_output = static_cast<size_t>(table_.group_outputs) * (cell / bands);
    for_each_run(table_, cell, [&](const CsrRun& run, uint32_t at) { next[first_output + run.output] = at; });
  }
  const int64_t first = table_.origin[band],
                last = band + 1 < table_.origin.size() ? table_.origin[band + 1] : inputs_;
  uint16_t source = 0;
  for (int64_t row = first; row < last; ++row)
    for (const uint16_t column : pattern.row(row)) {
      const uint32_t place = next[column]++;
      row_[place] = static_cast<uint16_t>(row - first);
      source_[place] = source++;
    }
}

CsrRuns TransposedCsrView::runs() const {
  CsrRuns runs = runs_of(table_, outputs_, inputs_, static_cast<int64_t>(table_.origin.size()));
  runs.first_weight = table_.first_weight.data();
  runs.index = row_.data();
  return runs;
}

template <typename T>
void TransposedCsrView::arrange(T* arranged_N, const float* values_N) const {
  const size_t cells = table_.first_run.size() - 1, bands = table_.origin.size();
#pragma omp parallel for schedule(static)
  for (size_t cell = 0; cell < cells; ++cell) {
    const float* values = values_N + band_weight_[cell % bands];
    for (uint32_t i = table_.first_weight[cell]; i < table_.first_weight[cell + 1]; ++i)
      arranged_N[i] = narrow<T>(values[source_[i]]);
  }
}

size_t TransposedCsrView::bytes() const {
  return table_.bytes() + bytes_of(band_weight_) + bytes_of(row_) + bytes_of(source_);
}

template void CsrView::arrange(float*, const float*) const;
template void CsrView::arrange(BF16*, const float*) const;
template void TransposedCsrView::arrange(float*, const float*) const;
template void TransposedCsrView::arrange(BF16*, const float*) const;

}  // namespace fern
