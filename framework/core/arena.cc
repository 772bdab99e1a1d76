#include "framework/core/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace fern {

namespace {

constexpr size_t kAlignment_bytes = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment_bytes - 1) / kAlignment_bytes * kAlignment_bytes; }

// Zeroed pages that cost nothing until touched; huge pages where the kernel has them.
std::byte* take_host_memory(const std::string& name, size_t bytes) {
  constexpr size_t kHugePage_bytes = 2u << 20;
  void* data = std::aligned_alloc(
      bytes >= kHugePage_bytes ? kHugePage_bytes : kAlignment_bytes,
      bytes >= kHugePage_bytes ? (bytes + kHugePage_bytes - 1) / kHugePage_bytes * kHugePage_bytes : bytes);
  expect(data != nullptr,
         "arena '{}': the system refused {} bytes; free memory or make the model or batch smaller", name,
         bytes);
  if (bytes >= kHugePage_bytes) madvise(data, bytes, MADV_HUGEPAGE);
  std::memset(data, 0, bytes);
  return static_cast<std::byte*>(data);
}

}  // namespace

void Arena::Free::operator()(std::byte* data) const noexcept {
  if (device == Device::kCuda)
    cuda_free(data);
  else
    std::free(data);
}

Arena::Arena(std::string name, size_t capacity_bytes, Device device)
    : name_(std::move(name)),
      memory_(nullptr, Free{device}),
      capacity_bytes_(aligned(capacity_bytes)),
      device_(device) {
  if (capacity_bytes_ == 0) return;
  memory_.reset(device == Device::kCuda ? static_cast<std::byte*>(cuda_allocate(capacity_bytes_))
                                        : take_host_memory(name_, capacity_bytes_));
}

Arena Arena::measuring(std::string name) { return Arena(std::move(name)); }

Tensor Arena::allocate(DType dtype, Shape shape) {
  const size_t bytes = aligned(static_cast<size_t>(shape.elements()) * size_of(dtype));
  const size_t begin = used_bytes_;
  used_bytes_ += bytes;
  if (measuring_) return Tensor(nullptr, dtype, shape, device_);
  expect(used_bytes_ <= capacity_bytes_, "arena '{}': expected at most {} bytes in all, asked for {}", name_,
         capacity_bytes_, used_bytes_);
  return Tensor(memory_.get() + begin, dtype, shape, device_);
}

void give_back(const Tensor& tensor, int64_t begin) {
  if (tensor.empty() || tensor.device() != Device::kCpu) return;
  constexpr uintptr_t kPage_bytes = 4096;
  const auto start = reinterpret_cast<uintptr_t>(tensor.data());
  const uintptr_t first = (start + static_cast<size_t>(begin) * size_of(tensor.dtype()) + kPage_bytes - 1) /
                          kPage_bytes * kPage_bytes;
  const uintptr_t last = (start + tensor.bytes()) / kPage_bytes * kPage_bytes;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace fern
