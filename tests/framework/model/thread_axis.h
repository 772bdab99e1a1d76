// Threads of one process as the ranks of a tensor axis.
#pragma once

#include <algorithm>
#include <barrier>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "framework/layers/tensor_axis.h"

namespace fern {

class ThreadAxis final : public TensorAxis {
 public:
  // What the threads share.
  struct Meeting {
    explicit Meeting(int64_t ranks) : barrier(ranks), tensors(static_cast<size_t>(ranks)) {}
    std::barrier<> barrier;
    std::vector<Tensor> tensors;
  };

  ThreadAxis(Meeting& meeting, int64_t index) : meeting_(meeting), index_(index) {}
  int64_t size() const override { return std::ssize(meeting_.tensors); }
  int64_t index() const override { return index_; }

  void all_gather(const Tensor& whole, Stream&) override {
    meet(whole);
    with_float_type("thread_axis", whole.dtype(), [&]<typename T>() {
      for (int64_t rank = 0; rank < size(); ++rank)
        if (rank != index_) std::ranges::copy(of_rank<T>(rank, rank), rows_of(rank, whole).template as<T>());
    });
    meeting_.barrier.arrive_and_wait();
  }

  void reduce_scatter(Tensor own, const Tensor& whole, Stream&) override {
    meet(whole);
    with_float_type("thread_axis", whole.dtype(), [&]<typename T>() {
      T* sum = own.as<T>();
      for (int64_t i = 0; i < own.elements(); ++i) {
        Wide<T> total = 0;
        for (int64_t rank = 0; rank < size(); ++rank)
          total += widen(of_rank<T>(rank, index_)[static_cast<size_t>(i)]);
        sum[i] = narrow<T>(total);
      }
    });
    meeting_.barrier.arrive_and_wait();
  }

  int64_t sent_bytes() const override { return 0; }

 private:
  void meet(const Tensor& whole) {
    meeting_.tensors[static_cast<size_t>(index_)] = whole;
    meeting_.barrier.arrive_and_wait();
  }
  // Rows `part` of what a rank came with.
  template <typename T>
  std::span<T> of_rank(int64_t rank, int64_t part) const {
    return rows_of(part, meeting_.tensors[static_cast<size_t>(rank)]).template values<T>();
  }

  Meeting& meeting_;
  int64_t index_;
};

// Runs work(axis) on each of so many threads. An error on one of them ends the test program: the others wait
// for it.
inline void on_threads(int64_t ranks, const std::function<void(TensorAxis&)>& work) {
  ThreadAxis::Meeting meeting(ranks);
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      ThreadAxis axis(meeting, rank);
      work(axis);
    });
}

}  // namespace fern
