// Named memory, sized before it is taken: the same code first measures, then allocates.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "framework/core/tensor.h"

namespace fern {

// A bump allocator for tensors that live as long as it does. In measuring mode it hands out tensors without
// memory (data() is null) and only counts, so `fern plan` runs the very code that will allocate.
//
//   Arena measure = Arena::measuring("activations");
//   build(measure);
//   Arena arena("activations", measure.used_bytes());
//   build(arena);
class Arena {
 public:
  // Reserves `capacity_bytes`, zeroed, 64-byte aligned. Errors: the system or device has not that much.
  Arena(std::string name, size_t capacity_bytes, Device device = Device::kCpu);
  static Arena measuring(std::string name);
  // Reserves the addresses alone: memory is taken page by page as it is written to, and release() gives it
  // back. On the CPU. Errors: the system has not that many addresses.
  static Arena reserving(std::string name, size_t capacity_bytes);

  // A tensor of zeros on first use, each start 64-byte aligned. Errors: the arena is full, naming it.
  Tensor allocate(DType dtype, Shape shape);

  const std::string& name() const { return name_; }
  bool is_measuring() const { return measuring_; }
  size_t used_bytes() const { return used_bytes_; }

 private:
  struct Free {
    Device device;
    size_t mapped_bytes;  // of addresses that were reserved, else 0
    void operator()(std::byte* data) const noexcept;
  };
  explicit Arena(std::string name) : name_(std::move(name)), measuring_(true) {}

  std::string name_;
  std::unique_ptr<std::byte, Free> memory_;
  size_t capacity_bytes_ = 0;
  size_t used_bytes_ = 0;
  Device device_ = Device::kCpu;
  bool measuring_ = false;
};

// Gives the memory of a tensor's values from `begin` on back to the system, as far as it is whole pages; they
// read as zero when next used. For what has become shorter for good.
void give_back(const Tensor& tensor, int64_t begin);

// Values [begin, end) of a tensor become zero, and whole pages of them are memory no longer, until they are
// next used.
void release(const Tensor& tensor, int64_t begin, int64_t end);

// Builds something twice: once measured, once in an arena of exactly that size.
template <typename Build>
Arena sized_arena(const std::string& name, Build&& build, Device device = Device::kCpu) {
  Arena measure = Arena::measuring(name);
  build(measure);
  Arena arena(name, measure.used_bytes(), device);
  build(arena);
  return arena;
}

}  // namespace fern
