#include "framework/sparsity/top_k.h"

#include <algorithm>
#include <functional>

#include "framework/core/error.h"

namespace fern {

namespace {

// With few candidates a shrink is cheap beside a flush of offers.
constexpr size_t kLeastCapacity = 64;

}  // namespace

TopK::TopK(int64_t k) : k_(static_cast<size_t>(k)) {
  expect(k >= 0, "[top_k] expected to keep 0 or more, got {}", k);
  kept_.reserve(std::max(2 * k_, kLeastCapacity));
  clear();
}

void TopK::clear() {
  kept_.clear();
  threshold_ = k_ == 0 ? std::numeric_limits<uint64_t>::max() : 0;
}

void TopK::shrink() {
  const auto last = kept_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
  std::nth_element(kept_.begin(), last, kept_.end(), std::greater<>());
  kept_.resize(k_);
  threshold_ = kept_.back();
}

void TopK::merge(const TopK& other) {
  for (const uint64_t worth : other.kept_) offer(worth);
}

std::vector<uint64_t> TopK::best() const {
  std::vector<uint64_t> sorted = kept_;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  if (sorted.size() > k_) sorted.resize(k_);
  return sorted;
}

}  // namespace fern
