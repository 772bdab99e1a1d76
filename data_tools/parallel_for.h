// Work on many items at once, where an item may fail.
#pragma once

#include <cstdint>
#include <exception>

namespace fern {

// Calls work(i) for each i in [0, count) on up to `threads` threads, in no order. The first exception, by
// index, comes out after the items under way are done; no item is begun after one has failed.
template <typename Work>
void parallel_for(int64_t count, int threads, const Work& work) {
  std::exception_ptr failure;
  int64_t failed_at = count;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t i = 0; i < count; ++i) {
    int64_t stop = 0;
#pragma omp atomic read
    stop = failed_at;
    if (stop < i) continue;
    try {
      work(i);
    } catch (...) {
#pragma omp critical(parallel_for_failure)
      if (i < failed_at) {
        failure = std::current_exception();
#pragma omp atomic write
        failed_at = i;
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace fern
