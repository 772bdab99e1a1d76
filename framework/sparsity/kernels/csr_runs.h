// What the unstructured kernels share. Included by csr_kernels.cc alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/kernels/vector.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Fetches what a later run reads: runs of a cell lie too far apart for the processor to foresee.
template <typename Value>
inline void fetch_ahead(const CsrRuns& w, const CsrRun* run, const Value* values) {
  constexpr int64_t kLine = 64 / sizeof(Value);
  const uint32_t begin = run[kCsrRunsAhead].begin;
  __builtin_prefetch(w.index + begin);
  __builtin_prefetch(values + begin);
  __builtin_prefetch(values + begin + kLine);
}

// visit(run, first of its weights) for the runs of a cell; `values` are what it reads of each weight.
template <typename Value, typename Visit>
inline void for_each_run(const CsrRuns& w, int64_t cell, const Value* values, const Visit& visit) {
  const CsrRun *run = w.runs + w.first_run[cell], *last = w.runs + w.first_run[cell + 1];
  if (w.first_weight == nullptr) {
    for (; run != last; ++run) {
      fetch_ahead(w, run, values);
      visit(*run, run->begin);
    }
  } else {
    for (uint32_t begin = w.first_weight[cell]; run != last; begin += run->count, ++run) visit(*run, begin);
  }
}

// The group's number of outputs.
inline int64_t outputs_of(const CsrRuns& w, int64_t group) {
  const int64_t left = w.outputs - group * w.group_outputs;
  return left < w.group_outputs ? left : w.group_outputs;
}

}  // namespace fern::FERN_SIMD_NAMESPACE
