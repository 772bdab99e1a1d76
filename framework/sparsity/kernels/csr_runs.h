// What the unstructured kernels share. Included by csr_kernels.cc alone (vector.h).
#pragma once

#include "framework/sparsity/kernels/csr_kernels.h"
#include "framework/sparsity/kernels/vector.h"

namespace fern::FERN_SIMD_NAMESPACE {

// Fetches what the run of a later output reads: runs of one band are too short and too far apart for the
// processor to foresee.
template <typename Value>
inline void fetch_ahead(const CsrRuns& w, const uint32_t* run, const Value* values) {
  constexpr int64_t kLine = 64 / sizeof(Value);
  const uint32_t begin = run[kCsrRunsAhead * w.output_step];
  __builtin_prefetch(w.index + begin);
  __builtin_prefetch(values + begin);
  __builtin_prefetch(values + begin + kLine);
}

}  // namespace fern::FERN_SIMD_NAMESPACE
