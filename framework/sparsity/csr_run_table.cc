#include "framework/sparsity/csr_run_table.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/sparsity/ceiling.h"

namespace fern {

namespace {

// About equal parts of `count`, each a multiple of 16.
int64_t equal_parts(int64_t count, int64_t parts) {
  return std::max<int64_t>(ceiling(ceiling(count, std::max<int64_t>(parts, 1)), 16), 1) * 16;
}

// Outputs of a group: as many as may be, with about as many groups for each of this process's threads; not so
// few that a run is hardly ever as long as the one before. What a product gives does not depend on it.
int64_t group_outputs_for(int64_t outputs) {
  constexpr int64_t kFewest = 64;
  const int64_t threads = omp_get_max_threads(), least = ceiling(outputs, kCsrOutputs);
  return equal_parts(outputs,
                     std::max(least, std::min(ceiling(least, threads) * threads, outputs / kFewest)));
}

template <typename T>
size_t bytes_of(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

}  // namespace

int64_t csr_band_inputs(const Pattern& pattern, int64_t inputs) {
  constexpr double kRun = 18;
  const double fitting = std::clamp(kRun / std::max(1e-6, pattern.density()), 64.0, 256.0);
  const double bands = std::max(std::round(static_cast<double>(inputs) / fitting), 1.0);
  return equal_parts(inputs, static_cast<int64_t>(bands));
}

CsrRunTable::CsrRunTable(int64_t outputs, std::vector<int64_t> origin)
    : outputs_(outputs), group_outputs_(group_outputs_for(outputs)), origin_(std::move(origin)) {}

void CsrRunTable::add(const CsrRun& run) {
  const bool is_first_band = first_run_.size() % origin_.size() == 0;
  if (run.count > 0 || is_first_band) cell_.push_back(run);
}

void CsrRunTable::mark_cell() {
  first_run_.push_back(static_cast<uint32_t>(runs_.size()));
  first_weight_.push_back(weights_);
}

void CsrRunTable::finish_cell() {
  mark_cell();
  std::stable_sort(cell_.begin(), cell_.end(),
                   [](const CsrRun& a, const CsrRun& b) { return a.count < b.count; });
  for (const CsrRun& run : cell_) weights_ += run.count;
  runs_.insert(runs_.end(), cell_.begin(), cell_.end());
  cell_.clear();
}

void CsrRunTable::finish() {
  mark_cell();
  runs_.insert(runs_.end(), kCsrRunsAhead, CsrRun{});
  runs_.shrink_to_fit();
}

CsrRuns CsrRunTable::runs(int64_t inputs) const {
  return {.outputs = outputs_,
          .inputs = inputs,
          .groups = cells() / bands(),
          .bands = bands(),
          .group_outputs = group_outputs_,
          .band_inputs = 0,
          .origin = origin_.data(),
          .first_run = first_run_.data(),
          .runs = runs_.data(),
          .first_weight = first_weight_.data(),
          .index = nullptr,
          .values = nullptr,
          .rounded = nullptr};
}

size_t CsrRunTable::bytes() const {
  return bytes_of(origin_) + bytes_of(first_run_) + bytes_of(first_weight_) + bytes_of(runs_);
}

}  // namespace fern
