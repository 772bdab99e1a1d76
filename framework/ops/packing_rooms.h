// Memory of packed weights (packed_weight.h). A weight has room of its own, where it stays packed until it
// changes; or it shares room with others, and is packed anew where another one has been there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"

namespace fern {

// How a weight is multiplied: the type of its products' activations, and the rows of a product on average.
struct WeightUse {
  DType dtype = DType::kF32;
  double tokens = 1;
  bool shares = false;  // in any case
};

// Whether a weight shares room: where packing it for every product takes at most 1 % of the time of its three
// products. A function of the use alone, so that every rank chooses the same; the bits of a product are the
// same either way.
bool shares_packing(const WeightUse& use);

// Room for one packed operand at a time.
class PackingRoom {
 public:
  // Whether this version of the operand is not in it. From now on it is: the caller packs it.
  bool must_pack(const void* operand, int64_t version);
  const Tensor& memory() const { return memory_; }  // bytes, as i32
  bool is_shared() const { return operands_ > 1; }

 private:
  friend class PackingRooms;
  size_t bytes_ = 0;
  int64_t operands_ = 0;  // that it is reserved for
  Tensor memory_;
  const void* operand_ = nullptr;
  int64_t version_ = -1;
};

// All rooms of a model.
class PackingRooms {
 public:
  // The two products that read a weight. They take turns, so what is shared is shared within one of them.
  enum class Side : uint8_t { kForward, kBackward };

  // A room for an operand of that many bytes. It stays where it is, also when this is moved.
  PackingRoom& reserve(Side side, size_t bytes, const WeightUse& use);
  // Takes the memory, once all that is needed has been reserved.
  void allocate(Arena& arena);

 private:
  std::deque<PackingRoom> rooms_;
  std::array<PackingRoom*, 2> shared_ = {};  // by side
};

}  // namespace fern
