// Working memory of one thread, kept between calls so that a training step allocates nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace fern {

// At least `elements` values, 64-byte aligned, finite when first handed out and then as the last user left
// them. Valid until this thread's next call for the same T.
template <typename T>
T* thread_scratch(int64_t elements) {
  struct Free {
    void operator()(T* data) const noexcept { std::free(data); }
  };
  static_assert(std::is_trivial_v<T>);
  thread_local std::unique_ptr<T, Free> memory;
  thread_local int64_t capacity = 0;
  if (elements > capacity) {
    constexpr size_t kAlignment_bytes = 64;
    const size_t bytes = (static_cast<size_t>(elements) * sizeof(T) + kAlignment_bytes - 1) /
                         kAlignment_bytes * kAlignment_bytes;
    memory.reset(static_cast<T*>(std::aligned_alloc(kAlignment_bytes, bytes)));
    if (memory == nullptr) throw std::bad_alloc();
    std::fill_n(memory.get(), elements, T(0));
    capacity = elements;
  }
  return memory.get();
}

}  // namespace fern
