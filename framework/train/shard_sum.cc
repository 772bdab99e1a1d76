#include "framework/train/shard_sum.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/model/parameters.h"

namespace fern {

namespace {

// Calls work(begin, count) for each chunk of the flat buffer, on all threads.
template <typename Work>
void for_each_chunk(int64_t elements, const Work& work) {
  const int64_t chunks = (elements + kParameterChunk - 1) / kParameterChunk;
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kParameterChunk;
    work(begin, static_cast<size_t>(std::min(kParameterChunk, elements - begin)));
  }
}

}  // namespace

ShardSum::ShardSum(Tensor gradients, int64_t first, int64_t last, int64_t shards, Arena& arena)
    : first_(first),
      last_(last),
      next_(first),
      gradients_(gradients),
      stack_(shards),
      cover_(cover(first, last, shards)) {
  for (int i = most_waiting(first, last, shards); i > 0; --i)
    waiting_.push_back(arena.allocate(DType::kF32, gradients.shape()));
}

void ShardSum::begin_shard() {
  if (next_ == last_) {
    next_ = first_;
    stack_.clear();
  }
  float* gradients = gradients_.as<float>();
  for_each_chunk(gradients_.elements(),
                 [&](int64_t begin, size_t count) { std::fill_n(gradients + begin, count, 0.0f); });
}

void ShardSum::end_shard() {
  expect(next_ < last_, "[shard sum] expected {} shards a step, got more: call begin_shard first",
         last_ - first_);
  const size_t waiting = stack_.nodes().size();
  const size_t joined = static_cast<size_t>(stack_.push({0, next_++}));
  // The newest sum stays in the gradients only when no shard follows.
  float* aside = next_ < last_ ? waiting_[waiting - joined].as<float>() : nullptr;
  float* gradients = gradients_.as<float>();
  for_each_chunk(gradients_.elements(), [&](int64_t begin, size_t count) {
    for (size_t i = 1; i <= joined; ++i)
      add_to({gradients + begin, count}, waiting_[waiting - i].as<float>() + begin);
    if (aside != nullptr) std::copy_n(gradients + begin, count, aside + begin);
  });
}

void ShardSum::expect_complete() const {
  expect(next_ == last_, "[shard sum] expected shards {} to {} to be summed, got {} of them", first_,
         last_ - 1, next_ - first_);
}

std::span<float> ShardSum::values(size_t node) const {
  return (node + 1 == cover_.size() ? gradients_ : waiting_[node]).values<float>();
}

}  // namespace fern
