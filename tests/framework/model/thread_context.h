// Threads of one process as the ranks of a context axis.
#pragma once

#include <algorithm>
#include <array>
#include <barrier>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

#include "framework/layers/context_axis.h"

namespace fern {

class ThreadContext final : public ContextAxis {
 public:
  // What the threads share: what each has on its way.
  struct Meeting {
    explicit Meeting(int64_t ranks) : barrier(ranks), out(static_cast<size_t>(ranks)) {}
    std::barrier<> barrier;
    std::vector<std::array<Tensor, kRingCargoes>> out;
  };

  ThreadContext(Meeting& meeting, int64_t index) : meeting_(meeting), index_(index) {}
  int64_t size() const override { return std::ssize(meeting_.out); }
  int64_t index() const override { return index_; }

  // Until it is finished, nothing good is in `in`; and `out` is read as late as may be.
  void begin_rotation(RingCargo cargo, const Tensor& out, Tensor in) override {
    with_float_type("thread_context", in.dtype(), [&]<typename T>() {
      std::ranges::fill(in.values<T>(), narrow<T>(std::numeric_limits<Wide<T>>::quiet_NaN()));
    });
    of(index_, cargo) = out;
    in_[static_cast<size_t>(cargo)] = in;
    sent_bytes_ += static_cast<int64_t>(out.bytes());
  }
  void finish_rotation(RingCargo cargo) override {
    meeting_.barrier.arrive_and_wait();
    const Tensor& in = in_[static_cast<size_t>(cargo)];
    with_float_type("thread_context", in.dtype(), [&]<typename T>() {
      std::ranges::copy(of(holder_of(1), cargo).template values<T>(), in.as<T>());
    });
    meeting_.barrier.arrive_and_wait();
  }
  int64_t sent_bytes() const override { return sent_bytes_; }

 private:
  Tensor& of(int64_t rank, RingCargo cargo) {
    return meeting_.out[static_cast<size_t>(rank)][static_cast<size_t>(cargo)];
  }

  Meeting& meeting_;
  int64_t index_, sent_bytes_ = 0;
  std::array<Tensor, kRingCargoes> in_;
};

// Runs work(axis) on each of so many threads. An error on one of them ends the test program: the others wait
// for it.
inline void on_context_threads(int64_t ranks, const std::function<void(ContextAxis&)>& work) {
  ThreadContext::Meeting meeting(ranks);
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      ThreadContext axis(meeting, rank);
      work(axis);
    });
}

}  // namespace fern
