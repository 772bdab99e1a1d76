// The tensor seam over ranks.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "framework/core/arena.h"
#include "framework/layers/tensor_axis.h"
#include "framework/model/config.h"
#include "framework/model/part.h"
#include "parallel/communicator.h"

namespace fern {

class RankTensorAxis final : public TensorAxis {
 public:
  // Borrows the communicator of the ranks that share matrices; takes room for what they send from `arena`,
  // which may be measuring.
  RankTensorAxis(Communicator& communicator, Arena& arena);
  // What it takes, with so many ranks.
  static size_t bytes(int64_t ranks);
  int64_t size() const override { return communicator_.size(); }
  int64_t index() const override { return communicator_.rank(); }
  void all_gather(const Tensor& whole, Stream& stream) override;
  void reduce_scatter(Tensor own, const Tensor& whole, Stream& stream) override;
  int64_t sent_bytes() const override { return sent_bytes_; }

 private:
  // Pieces of a sum that are under way at a time: while one is added up, the next one comes.
  static constexpr int kPieces = 2;
  static_assert(kPieces <= kExchangeLanes);

  // Starts to exchange piece `number` of every rank's rows.
  void start(int64_t number, const Tensor& whole);
  // Waits for it, and adds it up.
  void finish(int64_t number, const Tensor& own, const Tensor& whole);
  // Where it comes to, from one rank.
  Tensor arrival(int64_t number, int64_t rank, const Tensor& piece) const;

  // Memory for the sum of one piece, and what all other ranks send of each piece that is under way.
  struct Room {
    Room(Arena& arena, int64_t ranks);
    std::array<Tensor, kPieces> arrivals;
    Tensor sum;
  };

  Communicator& communicator_;
  Room room_;
  std::vector<int64_t> counts_;
  std::vector<Incoming> incoming_;
  std::vector<Outgoing> outgoing_;
  int64_t sent_bytes_ = 0;
};

// What a rank sends others of the axis in one forward and backward pass of its part of a model, of `tokens`
// positions with `targets` targets among them: a rank holds a t-th of the rows, and every exchange sends what
// others lack.
int64_t tensor_axis_bytes(const ModelConfig& config, const ModelPart& part, const TensorAxis& axis,
                          int64_t tokens, int64_t targets);

}  // namespace fern
