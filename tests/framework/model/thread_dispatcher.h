// Threads of one process as the ranks that share experts.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "framework/layers/token_dispatcher.h"

namespace fern {

class ThreadDispatcher final : public TokenDispatcher {
 public:
  // What the threads share.
  struct Meeting {
    explicit Meeting(int64_t ranks) : barrier(ranks), tensors(static_cast<size_t>(ranks)) {}
    std::barrier<> barrier;
    std::vector<Tensor> tensors;
  };

  ThreadDispatcher(Meeting& meeting, int64_t index) : meeting_(meeting), index_(index) {}
  int64_t size() const override { return std::ssize(meeting_.tensors); }
  int64_t index() const override { return index_; }

  void count(const Dispatch& out, const Tensor& first_E1, Stream&) override {
    meet(first_E1);
    const int64_t experts = first_E1.dim(0) - 1;
    const Slice here = own(experts);
    int32_t* first_here = out.first_X1.as<int32_t>();
    std::fill_n(first_here, here.elements() + 1, 0);
    for (int64_t rank = 0; rank < size(); ++rank)
      for (int64_t e = 0; e < experts; ++e) {
        const int32_t* first = tensor_of(rank).as<int32_t>();
        out.rows_NE.as<int32_t>()[rank * experts + e] = first[e + 1] - first[e];
        for (int64_t x = e - here.begin; 0 <= x && x < here.elements() && e < here.end; ++x)
          first_here[x + 1] += first[e + 1] - first[e];
      }
    meeting_.barrier.arrive_and_wait();
  }

  void dispatch(Tensor here_QC, const Tensor& rows_RC, const Dispatch& dispatch, Stream&) override {
    meet(rows_RC);
    const Slice experts = own(dispatch.rows_NE.dim(1));
    int64_t at = 0;
    for (int64_t e = experts.begin; e < experts.end; ++e)
      for (int64_t rank = 0; rank < size(); ++rank) {
        const int64_t begin = before(rank, e, dispatch), count = rows_of(rank, e, dispatch);
        copy(here_QC.rows(at, at + count), tensor_of(rank).rows(begin, begin + count));
        at += count;
      }
    meeting_.barrier.arrive_and_wait();
  }

  void collect(Tensor rows_RC, const Tensor& here_QC, const Dispatch& dispatch, Stream&) override {
    meet(here_QC);
    for (int64_t holder = 0; holder < size(); ++holder) {
      const Slice experts = share_of(holder, dispatch.rows_NE.dim(1));
      int64_t at = 0;
      for (int64_t e = experts.begin; e < experts.end; ++e)
        for (int64_t rank = 0; rank < size(); ++rank) {
          const int64_t begin = before(rank, e, dispatch), count = rows_of(rank, e, dispatch);
          if (rank == index_)
            copy(rows_RC.rows(begin, begin + count), tensor_of(holder).rows(at, at + count));
          at += count;
        }
    }
    meeting_.barrier.arrive_and_wait();
  }

  int64_t sent_bytes() const override { return 0; }

 private:
  void meet(const Tensor& tensor) {
    meeting_.tensors[static_cast<size_t>(index_)] = tensor;
    meeting_.barrier.arrive_and_wait();
  }
  const Tensor& tensor_of(int64_t rank) const { return meeting_.tensors[static_cast<size_t>(rank)]; }
  static int64_t rows_of(int64_t rank, int64_t expert, const Dispatch& dispatch) {
    return dispatch.rows_NE.as<int32_t>()[rank * dispatch.rows_NE.dim(1) + expert];
  }
  // A rank's rows for experts before this one.
  static int64_t before(int64_t rank, int64_t expert, const Dispatch& dispatch) {
    int64_t rows = 0;
    for (int64_t e = 0; e < expert; ++e) rows += rows_of(rank, e, dispatch);
    return rows;
  }
  static void copy(const Tensor& to, const Tensor& from) { std::memcpy(to.data(), from.data(), to.bytes()); }

  Meeting& meeting_;
  int64_t index_;
};

// Runs work(dispatcher) on each of so many threads. An error on one of them ends the test program: the others
// wait for it.
inline void on_expert_threads(int64_t ranks, const std::function<void(TokenDispatcher&)>& work) {
  ThreadDispatcher::Meeting meeting(ranks);
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      ThreadDispatcher dispatcher(meeting, rank);
      work(dispatcher);
    });
}

}  // namespace fern
