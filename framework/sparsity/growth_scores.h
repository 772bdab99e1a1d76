// Which blocks of a weight have the largest gradients: gathered from tiles of rows, so that the dense
// gradient is never held.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/sparsity/budget.h"
#include "framework/sparsity/cells.h"
#include "framework/sparsity/pattern.h"
#include "framework/sparsity/top_k.h"

namespace fern {

// Of worths (top_k.h), in their order.
std::vector<Candidate> candidates_of(std::span<const uint64_t> worths);

// Exactly the blocks that sorting the scores of all blocks would choose: of each cell those with the largest
// sum of |gradient|, ties to the lower position; a score that is not a number comes last. A 1 x 1 block's
// score is |gradient|; of larger blocks the columns are summed down the rows first, in f32. Weights that
// compete keep the best of all, ties to the earlier weight.
class GrowthScores {
 public:
  // Keeps the best `per_cell` of each cell of the weight. Memory: 16 bytes for each (8 with more than one
  // cell), taken here.
  GrowthScores(const SparseWeight& weight, Cells cells, int64_t per_cell);
  // Scores of weights that compete for `count` blocks in all, in memory that they share. Errors (kBadUsage):
  // too many blocks to number.
  static std::vector<GrowthScores> competing(std::span<const SparseWeight> weights, int64_t count);

  // Scores the blocks of rows [first_row, last_row) that do not exist; `gradient` is f32, dense, [rows,
  // columns], of these rows alone. Rows of one call are shared out among threads; the result does not depend
  // on their number. REQUIRES: whole blocks; each row once between two clear().
  void offer_rows(const Pattern& existing, const float* gradient, int64_t first_row, int64_t last_row);
  // Takes what other scores of the same cells have kept: numbers as of worth_of(), each once.
  void offer(std::span<const uint64_t> worths);
  void clear();  // of all that compete

  // What is shared is of the first.
  size_t bytes() const { return (first_ == 0 ? whole_->bytes() : 0) + worth_.capacity() * sizeof(uint64_t); }

  // Cell after cell, best first in each.
  std::vector<Candidate> candidates() const { return candidates_of(state()); }
  // Everything that is kept, for a checkpoint: numbers as of worth_of(), in the order of candidates().
  std::vector<uint64_t> state() const;
  // offer() of all that was kept. REQUIRES: nothing was offered yet. Errors: a position outside the weight;
  // more of a cell than is kept.
  void restore(std::span<const uint64_t> state);

 private:
  GrowthScores(const SparseWeight& weight, std::shared_ptr<TopK> whole, uint64_t first);
  void offer_to_cell(uint64_t worth);
  template <typename Offer>
  void scan_row(const Pattern& existing, const float* scores, int64_t block_row, uint64_t threshold,
                const Offer& offer) const;
  void offer_whole(const Pattern& existing, const float* gradient, int64_t first, int64_t last);
  void offer_row_cell(const Pattern& existing, const float* scores, int64_t row);
  void offer_cells(const Pattern& existing, const float* gradient, int64_t first, int64_t last);
  const float* scores_of_row(const float* gradient) const;

  SparseWeight weight_;
  Cells cells_;
  size_t per_cell_;
  std::shared_ptr<TopK> whole_;  // one cell
  uint64_t first_ = 0;           // of the weight's positions, among those of all that compete
  std::vector<uint64_t> worth_;  // more: per_cell_ of each, best first, 0 where there is none yet
};

}  // namespace fern
