// A file mapped into memory, read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "framework/core/error.h"

namespace fern {

// Pages are read when they are touched and shared with every process that maps the same file. Views stay
// valid while this object lives, also after a move. The file must not be shortened meanwhile.
class MappedFile {
 public:
  // Errors: missing, empty, cannot be mapped.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  uint64_t bytes() const { return bytes_; }
  // Gives up the pages touched so far, so that they no longer count to this process; they come back when
  // touched.
  void forget_pages() const;
  // `count` values of T from `offset_bytes`. Errors: past the end, or not aligned for T.
  template <typename T>
  std::span<const T> values(uint64_t offset_bytes, uint64_t count) const {
    expect(offset_bytes <= bytes_ && count <= (bytes_ - offset_bytes) / sizeof(T),
           "mapped file: expected {} values of {} bytes at {}, but the file has {} bytes", count, sizeof(T),
           offset_bytes, bytes_);
    expect(offset_bytes % alignof(T) == 0, "mapped file: expected an offset that is a multiple of {}, got {}",
           alignof(T), offset_bytes);
    return {reinterpret_cast<const T*>(data_ + offset_bytes), count};
  }

 private:
  const std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace fern
