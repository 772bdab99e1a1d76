// The seam through which ranks share the matrices of every layer (Shoeybi et al. 2019, section 3) and,
// between these, the rows of every activation (Korthikanti et al. 2022, section 4.2). parallel/ implements it
// over MPI.
//
// Between blocks a rank holds its own rows of the residual stream; a block gathers all rows of its norm's
// output, computes with its share of the matrices, and scatters the sum over ranks by rows. Whatever ranks
// hold in common has the same bits on all of them.
#pragma once

#include <cstdint>

#include "framework/core/tensor.h"
#include "framework/model/parameters.h"

namespace fern {

class TensorAxis {
 public:
  virtual ~TensorAxis() = default;
  virtual int64_t size() const = 0;   // ranks that share each matrix
  virtual int64_t index() const = 0;  // this one's number

  // `whole` has own_rows() of each rank's, of which this rank's are there: fetches the others. f32, bf16 or
  // f64.
  virtual void all_gather(const Tensor& whole, Stream& stream) = 0;
  // own = the sum over ranks of own_rows(whole), added up in the order of ranks, in f32 or wider. `own` may
  // be own_rows(whole); the other rows of `whole` are undefined afterwards.
  virtual void reduce_scatter(Tensor own, const Tensor& whole, Stream& stream) = 0;
  // What this rank has sent to others so far.
  virtual int64_t sent_bytes() const = 0;

  // A rank's share of `whole` things: consecutive, as even as they go. Empty only with more ranks than
  // things.
  Slice share_of(int64_t rank, int64_t whole) const {
    return {whole * rank / size(), whole * (rank + 1) / size()};
  }
  Slice own(int64_t whole) const { return share_of(index(), whole); }
  Tensor rows_of(int64_t rank, const Tensor& whole) const;
  Tensor own_rows(const Tensor& whole) const { return rows_of(index(), whole); }
  // Where the tensor is made whose sum over ranks goes to `own`: in `room`, or, on one rank, there at once.
  Tensor room_of_sum(const Tensor& own, const Tensor& room) const { return size() == 1 ? own : room; }
  // The tensor that `own` is this rank's rows of: gathered in `room`, or, on one rank, `own`.
  Tensor gathered(const Tensor& own, const Tensor& room, Stream& stream);
  // Sum over ranks, in place, on all.
  void all_reduce(const Tensor& values, Stream& stream);

  // Of a parameter of which each rank holds own(rows) or own(columns), or that all of them hold.
  Placement rows(int64_t whole) const { return {.dimension = 0, .begin = own(whole).begin, .whole = whole}; }
  Placement columns(int64_t whole) const {
    return {.dimension = 1, .begin = own(whole).begin, .whole = whole};
  }
  Placement replicated() const { return {.counted = index() == 0}; }
};

// One rank's share without the others: the whole of it is one process's axis. Of several it lays out
// parameters and activations; what would need the others is an error.
class LoneAxis final : public TensorAxis {
 public:
  explicit LoneAxis(int64_t size = 1, int64_t index = 0) : size_(size), index_(index) {}
  int64_t size() const override { return size_; }
  int64_t index() const override { return index_; }
  void all_gather(const Tensor& whole, Stream& stream) override;
  void reduce_scatter(Tensor own, const Tensor& whole, Stream& stream) override;
  int64_t sent_bytes() const override { return 0; }

 private:
  void expect_alone() const;

  int64_t size_, index_;
};

}  // namespace fern
