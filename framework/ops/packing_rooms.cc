#include "framework/ops/packing_rooms.h"

#include <algorithm>

namespace fern {

bool shares_packing(const WeightUse& use) {
  if (use.shares) return true;
  constexpr double kMostShare = 0.01;
  // What a product does while packing moves a byte: in f32, packing once for 2048 tokens took 0.5 % of a
  // training step (a busy 2-core Zen 3). bf16 is taken to be alike; it has not been measured.
  constexpr double kFlopsPerByte = 7.5;
  // Of each weight: read as f32 and written, in bf16 for each of two products.
  const double packed_bytes = use.dtype == DType::kBF16 ? 2 * (4 + 2) : 4 + 4;
  const double product_flops = 3 * 2 * use.tokens;
  return packed_bytes * kFlopsPerByte <= kMostShare * product_flops;
}

bool PackingRoom::must_pack(const void* operand, int64_t version) {
  if (operand_ == operand && version_ == version) return false;
  operand_ = operand;
  version_ = version;
  return true;
}

PackingRoom& PackingRooms::reserve(Side side, size_t bytes, const WeightUse& use) {
  PackingRoom* room = nullptr;
  if (!shares_packing(use)) {
    room = &rooms_.emplace_back();
  } else {
    PackingRoom*& shared = shared_[static_cast<size_t>(side)];
    if (shared == nullptr) shared = &rooms_.emplace_back();
    room = shared;
  }
  room->bytes_ = std::max(room->bytes_, bytes);
  ++room->operands_;
  return *room;
}

void PackingRooms::allocate(Arena& arena) {
  for (PackingRoom& room : rooms_)
    room.memory_ = arena.allocate(DType::kI32, {static_cast<int64_t>((room.bytes_ + 3) / 4)});
}

}  // namespace fern
