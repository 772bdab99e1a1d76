#include "framework/sparsity/growth_scores.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <mutex>

#include "framework/core/error.h"
#include "framework/ops/scratch.h"

namespace fern {

namespace {

// Worths that a thread gathers before it takes the lock: 8 KiB.
constexpr size_t kFlush = 1024;

// Columns whose score has at least the bits `least`, in order; returns how many. Without a branch, since
// whether a score passes is not to be foretold. NaN passes always.
int64_t passing(uint32_t* columns, const float* scores, int64_t count, uint32_t least) {
  int64_t passed = 0;
  for (int64_t c = 0; c < count; ++c) {
    columns[passed] = static_cast<uint32_t>(c);
    passed += (std::bit_cast<uint32_t>(scores[c]) & 0x7FFFFFFF) >= least;
  }
  return passed;
}

// Puts a worth among the best of a short cell, best first.
void insert(std::span<uint64_t> kept, uint64_t worth) {
  size_t i = kept.size();
  if (i == 0 || worth <= kept[i - 1]) return;
  for (; i > 1 && kept[i - 2] < worth; --i) kept[i - 1] = kept[i - 2];
  kept[i - 1] = worth;
}

// One row of short cells, gone through one after the other, which finds a cell without a division. `kept` is
// what the row's cells keep.
void offer_short_cells(std::span<uint64_t> kept, std::span<const uint16_t> there, const float* scores,
                       uint64_t first, const Cells& cells, int64_t columns) {
  const size_t per_cell = kept.size() / static_cast<size_t>(columns / cells.positions);
  size_t at = 0;
  for (int64_t begin = 0; begin < columns; begin += cells.positions) {
    const auto of_cell = kept.subspan(static_cast<size_t>(begin / cells.positions) * per_cell, per_cell);
    for (int64_t c = begin; c < begin + cells.positions; ++c) {
      if (at < there.size() && there[at] == c)
        ++at;
      else
        insert(of_cell, worth_of(std::abs(scores[c]), first + static_cast<uint64_t>(c)));
    }
  }
}

// The bits of the score of a worth.
uint32_t score_bits(uint64_t worth) {
  const auto rank = static_cast<uint32_t>(worth >> 32);
  return rank == 0 ? 0 : rank - 1;
}

// One row of blocks: sum of |gradient| of each.
void sum_blocks(float* sums, const float* gradient, int64_t columns, BlockShape block) {
  for (int64_t c = 0; c < columns; ++c) sums[c] = std::abs(gradient[c]);
  for (int64_t r = 1; r < block.rows; ++r)
    for (int64_t c = 0; c < columns; ++c) sums[c] += std::abs(gradient[r * columns + c]);
  for (int64_t b = 0; b < columns / block.columns; ++b) {
    float sum = sums[b * block.columns];
    for (int64_t c = 1; c < block.columns; ++c) sum += sums[b * block.columns + c];
    sums[b] = sum;
  }
}

}  // namespace

std::vector<Candidate> candidates_of(std::span<const uint64_t> worths) {
  std::vector<Candidate> candidates;
  candidates.reserve(worths.size());
  for (const uint64_t worth : worths) candidates.push_back(candidate_of(worth));
  return candidates;
}

GrowthScores::GrowthScores(const SparseWeight& weight, Cells cells, int64_t per_cell)
    : weight_(weight),
      cells_(cells),
      per_cell_(static_cast<size_t>(per_cell)),
      whole_(std::make_shared<TopK>(cells.whole() ? per_cell : 0)),
      worth_(cells.whole() ? 0 : static_cast<size_t>(cells.count) * per_cell_) {}

GrowthScores::GrowthScores(const SparseWeight& weight, std::shared_ptr<TopK> whole, uint64_t first)
    : weight_(weight), cells_{1, weight.blocks()}, per_cell_(0), whole_(std::move(whole)), first_(first) {}

std::vector<GrowthScores> GrowthScores::competing(std::span<const SparseWeight> weights, int64_t count) {
  const auto whole = std::make_shared<TopK>(count);
  std::vector<GrowthScores> all;
  uint64_t first = 0;
  for (const SparseWeight& weight : weights) {
    all.push_back(GrowthScores(weight, whole, first));
    first += static_cast<uint64_t>(weight.blocks());
  }
  if (first >= kMostPositions)
    fail_usage(
        "sparsity.global = true: expected fewer than {} blocks in all weights, got {}; take larger blocks "
        "(sparsity.block) or leave sparsity.global out",
        kMostPositions, first);
  return all;
}

void GrowthScores::offer_to_cell(uint64_t worth) {
  const auto first = static_cast<size_t>(cells_.of(position_of(worth))) * per_cell_;
  insert(std::span(worth_).subspan(first, per_cell_), worth);
}

const float* GrowthScores::scores_of_row(const float* gradient) const {
  if (weight_.block.elements() == 1) return gradient;
  auto* sums = thread_scratch<float>(weight_.columns);
  sum_blocks(sums, gradient, weight_.columns, weight_.block);
  return sums;
}

// Calls offer(worth) for each block of the row that does not exist and may be above the threshold.
template <typename Offer>
void GrowthScores::scan_row(const Pattern& existing, const float* scores, int64_t block_row,
                            uint64_t threshold, const Offer& offer) const {
  const int64_t columns = weight_.block_columns();
  auto* passed = thread_scratch<uint32_t>(columns + 1);
  const int64_t count = passing(passed, scores, columns, score_bits(threshold));
  const auto there = existing.row(block_row);
  const uint64_t first = first_ + static_cast<uint64_t>(block_row * columns);
  size_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t column = passed[i];
    while (at < there.size() && there[at] < column) ++at;
    if (at < there.size() && there[at] == column) continue;
    offer(worth_of(std::abs(scores[column]), first + column));
  }
}

void GrowthScores::offer_whole(const Pattern& existing, const float* gradient, int64_t first, int64_t last) {
  std::mutex lock;
  std::atomic<uint64_t> threshold = whole_->threshold();
  const auto flush = [&](std::span<const uint64_t> worths) {
    const std::lock_guard guard(lock);
    for (const uint64_t worth : worths) whole_->offer(worth);
    threshold = whole_->threshold();
  };
#pragma omp parallel
  {
    std::array<uint64_t, kFlush> waiting;
    size_t count = 0;
#pragma omp for schedule(static)
    for (int64_t r = first; r < last; ++r) {
      const float* scores = scores_of_row(gradient + (r - first) * weight_.block.rows * weight_.columns);
      scan_row(existing, scores, r, threshold, [&](uint64_t worth) {
        if (worth <= threshold.load(std::memory_order_relaxed)) return;
        waiting[count++] = worth;
        if (count == kFlush) {
          flush(waiting);
          count = 0;
        }
      });
    }
    flush(std::span(waiting).first(count));
  }
}

// A long cell is chosen from at once: one by one, each offer would move half of what is kept.
void GrowthScores::offer_row_cell(const Pattern& existing, const float* scores, int64_t row) {
  auto* worths = thread_scratch<uint64_t>(cells_.positions + static_cast<int64_t>(per_cell_));
  uint64_t* end = worths;
  scan_row(existing, scores, row, 0, [&](uint64_t worth) { *end++ = worth; });
  const auto kept = std::span(worth_).subspan(static_cast<size_t>(row) * per_cell_, per_cell_);
  end = std::copy_if(kept.begin(), kept.end(), end, [](uint64_t worth) { return worth != 0; });
  uint64_t* last = worths + std::min(static_cast<std::ptrdiff_t>(per_cell_), end - worths);
  std::nth_element(worths, last, end, std::greater<>());
  std::sort(worths, last, std::greater<>());
  std::copy(worths, last, kept.begin());
}

// Cells lie within rows, so threads do not meet.
void GrowthScores::offer_cells(const Pattern& existing, const float* gradient, int64_t first, int64_t last) {
  const int64_t columns = weight_.block_columns();
  const bool rows = cells_.positions == columns;
  const size_t kept = static_cast<size_t>(columns / cells_.positions) * per_cell_;
  const auto kept_of_row = [&](int64_t r) {
    return std::span(worth_).subspan(static_cast<size_t>(r) * kept, kept);
  };
#pragma omp parallel for schedule(static)
  for (int64_t r = first; r < last; ++r) {
    const float* scores = scores_of_row(gradient + (r - first) * weight_.block.rows * weight_.columns);
    if (rows)
      offer_row_cell(existing, scores, r);
    else
      offer_short_cells(kept_of_row(r), existing.row(r), scores, static_cast<uint64_t>(r * columns), cells_,
                        columns);
  }
}

void GrowthScores::offer_rows(const Pattern& existing, const float* gradient, int64_t first_row,
                              int64_t last_row) {
  const int64_t step = weight_.block.rows;
  expect(existing.rows() == weight_.rows && existing.columns() == weight_.columns &&
             existing.block() == weight_.block,
         "[growth_scores] {}: expected a pattern of {} x {}, got {} x {}", weight_.name, weight_.rows,
         weight_.columns, existing.rows(), existing.columns());
  expect(0 <= first_row && first_row <= last_row && last_row <= weight_.rows && first_row % step == 0 &&
             last_row % step == 0,
         "[growth_scores] {}: expected whole blocks of {} of {} rows, got rows {} to {}", weight_.name, step,
         weight_.rows, first_row, last_row);
  if (cells_.whole())
    offer_whole(existing, gradient, first_row / step, last_row / step);
  else
    offer_cells(existing, gradient, first_row / step, last_row / step);
}

void GrowthScores::clear() {
  whole_->clear();
  std::fill(worth_.begin(), worth_.end(), 0);
}

std::vector<uint64_t> GrowthScores::state() const {
  std::vector<uint64_t> state = whole_->best(first_, first_ + static_cast<uint64_t>(weight_.blocks()));
  for (uint64_t& worth : state) worth += first_;  // to the weight's own position
  state.reserve(state.size() + worth_.size());
  std::copy_if(worth_.begin(), worth_.end(), std::back_inserter(state),
               [](uint64_t worth) { return worth != 0; });
  return state;
}

void GrowthScores::offer(std::span<const uint64_t> worths) {
  for (const uint64_t worth : worths) {
    expect(worth != 0 && position_of(worth) < static_cast<uint64_t>(weight_.blocks()),
           "[growth_scores] {}: expected positions below {}, got {}", weight_.name, weight_.blocks(),
           position_of(worth));
    cells_.whole() ? whole_->offer(worth - first_) : offer_to_cell(worth);
  }
}

void GrowthScores::restore(std::span<const uint64_t> state) {
  offer(state);
  const size_t kept = this->state().size();
  expect(kept == state.size(),
         "[growth_scores] {}: expected at most {} candidates a cell, got {} of which {} fit", weight_.name,
         per_cell_, state.size(), kept);
}

}  // namespace fern
