#include "framework/train/shard_sum.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/model/parameters.h"

namespace fern {

namespace {

// Calls work(begin, count) for each chunk of elements [begin, end), on all threads.
template <typename Work>
void for_each_chunk(int64_t begin, int64_t end, const Work& work) {
  const int64_t chunks = (end - begin + kParameterChunk - 1) / kParameterChunk;
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t at = begin + chunk * kParameterChunk;
    work(at, static_cast<size_t>(std::min(kParameterChunk, end - at)));
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

void ShardSum::set_gradients(const Tensor& gradients) {
  for (const Tensor& waiting : waiting_)
    expect(gradients.elements() <= waiting.elements(), "[shard sum] expected at most {} gradients, got {}",
           waiting.elements(), gradients.elements());
  gradients_ = gradients;
}

void ShardSum::begin_shard(bool releases) {
  if (next_ == last_) {
    next_ = first_;
    stack_.clear();
  }
  waiting_now_ = stack_.nodes().size();
  join_ = static_cast<size_t>(stack_.push({0, next_}));
  taken_from_ = gradients_.elements();
  if (releases) return release(gradients_, 0, taken_from_);
  float* gradients = gradients_.as<float>();
  for_each_chunk(0, taken_from_,
                 [&](int64_t begin, size_t count) { std::fill_n(gradients + begin, count, 0.0f); });
}

void ShardSum::take_from(int64_t begin) {
  if (begin >= taken_from_) return;
  take(begin, taken_from_, nullptr);
  taken_from_ = begin;
}

void ShardSum::end_shard() {
  expect(next_ < last_, "[shard sum] expected {} shards a step, got more: call begin_shard first",
         last_ - first_);
  // The newest sum stays in the gradients only when no shard follows.
  take(0, taken_from_, in_last_shard() ? nullptr : waiting_[waiting_now_ - join_].as<float>());
  taken_from_ = 0;
  ++next_;
}

void ShardSum::take(int64_t first, int64_t last, float* aside) {
  if (join_ == 0 && aside == nullptr) return;
  float* gradients = gradients_.as<float>();
  for_each_chunk(first, last, [&](int64_t begin, size_t count) {
    for (size_t i = 1; i <= join_; ++i)
      add_to({gradients + begin, count}, waiting_[waiting_now_ - i].as<float>() + begin);
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
