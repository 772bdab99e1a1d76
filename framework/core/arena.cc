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

// The whole pages among `bytes` from `start`.
struct Pages {
  Pages(uintptr_t start, size_t bytes)
      : begin((start + kPage_bytes - 1) / kPage_bytes * kPage_bytes),
        end((start + bytes) / kPage_bytes * kPage_bytes) {}
  static constexpr uintptr_t kPage_bytes = 4096;
  uintptr_t begin, end;
};

void give_back(const Pages& pages) {
  madvise(reinterpret_cast<void*>(pages.begin), pages.end - pages.begin, MADV_DONTNEED);
}

}  // namespace

void Arena::Free::operator()(std::byte* data) const noexcept {
  if (device == Device::kCuda)
    cuda_free(data);
  else if (mapped_bytes > 0)
    munmap(data, mapped_bytes);
  else
    std::free(data);
}

Arena::Arena(std::string name, size_t capacity_bytes, Device device)
    : name_(std::move(name)),
      memory_(nullptr, Free{device, 0}),
      capacity_bytes_(aligned(capacity_bytes)),
      device_(device) {
  if (capacity_bytes_ == 0) return;
  memory_.reset(device == Device::kCuda ? static_cast<std::byte*>(cuda_allocate(capacity_bytes_))
                                        : take_host_memory(name_, capacity_bytes_));
}

Arena Arena::measuring(std::string name) { return Arena(std::move(name)); }

Arena Arena::reserving(std::string name, size_t capacity_bytes) {
  Arena arena(std::move(name));
  arena.measuring_ = false;
  arena.capacity_bytes_ = aligned(capacity_bytes);
  if (arena.capacity_bytes_ == 0) return arena;
  void* data = mmap(nullptr, arena.capacity_bytes_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  expect(data != MAP_FAILED, "arena '{}': the system refused {} bytes of addresses", arena.name_,
         arena.capacity_bytes_);
  arena.memory_ = std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(data),
                                                   Free{Device::kCpu, arena.capacity_bytes_});
  return arena;
}

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
  const size_t in_use = static_cast<size_t>(begin) * size_of(tensor.dtype());
  const Pages pages(reinterpret_cast<uintptr_t>(tensor.data()) + in_use, tensor.bytes() - in_use);
  if (pages.begin < pages.end) give_back(pages);
}

void release(const Tensor& tensor, int64_t begin, int64_t end) {
  if (begin >= end) return;
  const size_t bytes = static_cast<size_t>(end - begin) * size_of(tensor.dtype());
  auto* data = static_cast<std::byte*>(tensor.data()) + static_cast<size_t>(begin) * size_of(tensor.dtype());
  const auto start = reinterpret_cast<uintptr_t>(data);
  const Pages pages(start, bytes);
  if (pages.begin >= pages.end) {
    std::memset(data, 0, bytes);
    return;
  }
  std::memset(data, 0, pages.begin - start);
  give_back(pages);
  std::memset(data + (pages.end - start), 0, start + bytes - pages.end);
}

}  // namespace fern
