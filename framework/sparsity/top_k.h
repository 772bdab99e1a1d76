// The k best of a stream of scores, in the memory of 2 k.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace fern {

// A block that may be grown: its score and its position, row-major in the weight's matrix of blocks.
struct Candidate {
  float score = 0;
  uint64_t position = 0;
  bool operator==(const Candidate&) const = default;
};

// Score and position as one number, larger where the score is and, among equal scores, where the position is
// lower. A score that is not a number is worth the least; no worth is 0. REQUIRES: score >= 0 or NaN,
// position < kMostPositions.
inline constexpr uint64_t kMostPositions = std::numeric_limits<uint32_t>::max();
inline uint64_t worth_of(float score, uint64_t position) {
  const uint64_t rank = std::isnan(score) ? 0 : uint64_t{std::bit_cast<uint32_t>(score) & 0x7FFFFFFF} + 1;
  return (rank << 32) | (kMostPositions - position);
}
// The same score at another position.
inline uint64_t moved_to(uint64_t worth, uint64_t position) {
  return (worth >> 32 << 32) | (kMostPositions - position);
}
inline uint64_t position_of(uint64_t worth) { return kMostPositions - (worth & 0xFFFFFFFF); }
inline Candidate candidate_of(uint64_t worth) {
  const auto rank = static_cast<uint32_t>(worth >> 32);
  return {rank == 0 ? std::numeric_limits<float>::quiet_NaN() : std::bit_cast<float>(rank - 1),
          position_of(worth)};
}

// Exactly the k best of all offers, whatever their order; each worth is offered once. Allocates at
// construction only.
class TopK {
 public:
  explicit TopK(int64_t k);

  void offer(uint64_t worth) {
    if (worth <= threshold_) return;
    kept_.push_back(worth);
    if (kept_.size() == limit_) shrink();
  }
  // A worth at or below it is not among the best. Never falls until clear().
  uint64_t threshold() const { return threshold_; }
  void clear();
  size_t bytes() const { return limit_ * sizeof(uint64_t); }
  // Those of the k best whose positions are in [first, last), best first.
  std::vector<uint64_t> best(uint64_t first = 0, uint64_t last = kMostPositions);

 private:
  void shrink();

  size_t k_, limit_;
  uint64_t threshold_;
  std::vector<uint64_t> kept_;
};

}  // namespace fern
