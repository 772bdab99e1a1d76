// The seam through which ranks share the experts of every layer (Fedus et al. 2021, arXiv:2101.03961, section
// 5.4). parallel/ implements it over MPI.
//
// Each rank holds a consecutive share of a layer's experts, and all of the rest; it routes the tokens of its
// own micro-batch, and sends each of their rows to the rank that holds the expert. Nothing is padded and no
// row is lost: rows come with their exact number. At an expert they are in the order of ranks, each rank's in
// the order of its tokens, so that one layout of ranks always gives the same bits.
//
// N ranks, E experts, X of them here, T tokens, K choices of each, R rows of this rank's tokens, Q rows at
// the experts that are here, C values of a row.
#pragma once

#include <algorithm>
#include <cstdint>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"
#include "framework/model/parameters.h"
#include "framework/ops/token_permutation.h"

namespace fern {

// How many rows go where, in one layer of one micro-batch.
struct Dispatch {
  Tensor rows_NE;        // i32: of each rank, its rows for each expert; empty on one rank
  Tensor first_X1;       // i32 [X + 1]: the x-th expert that is here has rows [first[x], first[x + 1]) of Q
  int64_t rows() const;  // Q
};

class TokenDispatcher {
 public:
  virtual ~TokenDispatcher() = default;
  virtual int64_t size() const = 0;   // ranks that share the experts of a layer
  virtual int64_t index() const = 0;  // this one's number

  // All ranks tell each other how many rows they have for each expert: first_E1 of a TokenPermutation.
  virtual void count(const Dispatch& out, const Tensor& first_E1, Stream& stream) = 0;
  // rows_RC: this rank's rows by expert, as in its TokenPermutation. Writes the rows that all ranks have for
  // the experts that are here. On one rank both are the same memory.
  virtual void dispatch(Tensor here_QC, const Tensor& rows_RC, const Dispatch& dispatch, Stream& stream) = 0;
  // The way back.
  virtual void collect(Tensor rows_RC, const Tensor& here_QC, const Dispatch& dispatch, Stream& stream) = 0;
  // What this rank has sent to others so far.
  virtual int64_t sent_bytes() const = 0;

  // A rank's share of the experts: consecutive, as even as they go.
  Slice share_of(int64_t rank, int64_t experts) const {
    return {experts * rank / size(), experts * (rank + 1) / size()};
  }
  Slice own(int64_t experts) const { return share_of(index(), experts); }
  // The most rows that all ranks together can have for the experts here, of one token of each: a token's
  // choices are all different.
  int64_t most_rows(int64_t active, int64_t experts) const {
    return size() * std::min(active, own(experts).elements());
  }
  // On one rank the rows are where the permutation says.
  Dispatch allocate(Arena& arena, const TokenPermutation& permutation) const;
  // Where this rank's rows are before they go, or when they have come back: in `room`, or, on one rank, in
  // `here`.
  Tensor own_rows(const Tensor& here_QC, const Tensor& room_RC) const {
    return size() == 1 ? here_QC : room_RC;
  }
};

// One rank's share without the others: all of it is one process's experts. Of several it lays out parameters
// and activations; what would need the others is an error.
class LoneDispatcher final : public TokenDispatcher {
 public:
  explicit LoneDispatcher(int64_t size = 1, int64_t index = 0) : size_(size), index_(index) {}
  int64_t size() const override { return size_; }
  int64_t index() const override { return index_; }
  void count(const Dispatch& out, const Tensor& first_E1, Stream& stream) override;
  void dispatch(Tensor here_QC, const Tensor& rows_RC, const Dispatch& dispatch, Stream& stream) override;
  void collect(Tensor rows_RC, const Tensor& here_QC, const Dispatch& dispatch, Stream& stream) override;
  int64_t sent_bytes() const override { return 0; }

 private:
  void expect_alone() const;

  int64_t size_, index_;
};

}  // namespace fern
