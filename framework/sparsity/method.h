// How patterns change while a model trains: what every method does, whatever its rule. methods/README.md
// shows how to add one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/sparsity/budget.h"
#include "framework/sparsity/growth_scores.h"
#include "framework/sparsity/pattern.h"

namespace fern {

struct MethodSetup {
  SparsityConfig config;
  std::vector<SparseWeight> weights;  // numbered in this order from here on
  int64_t train_steps = 0;
  uint64_t seed = 0;
  std::vector<int64_t> budget =
      {};  // blocks of each weight, where it begins with given patterns; empty: the config's
};

// What a method sees of one weight at an update. The spans may be empty where nothing reads them. Of a weight
// that another process holds the pattern has no blocks.
struct WeightView {
  const Pattern& pattern;
  std::span<const float> values = {};          // nonzeros(), in the pattern's order
  std::span<const Candidate> candidates = {};  // of its GrowthScores, when the method is scored()
  int64_t blocks_elsewhere = 0;
  bool is_here() const { return blocks_elsewhere == 0; }
  int64_t blocks() const { return pattern.blocks() + blocks_elsewhere; }
};

// Blocks of one weight that an update drops and grows.
struct Change {
  int64_t drop = 0, grow = 0;
  bool operator==(const Change&) const = default;
};

// Rows of a weight, [first, last).
struct RowRange {
  int64_t first = 0, last = 0;
  bool operator==(const RowRange&) const = default;
};

// A method keeps no state: everything is a function of its setup and the arguments, and the same on every
// rank.
class Method {
 public:
  // Errors: those of validate() and block_budget().
  explicit Method(MethodSetup setup);
  virtual ~Method() = default;

  // The pattern before the first step: with the budget's blocks, unless the method begins with more; and how
  // many that are.
  virtual Pattern initial(size_t weight) const;
  virtual int64_t initial_blocks(size_t weight) const { return budget_[weight]; }
  // Whether patterns change after optimizer step `step`, counted from 1.
  virtual bool updates_after(int64_t step) const;
  // Whether growing wants scores of the gradients.
  bool scored() const { return traits_of(config().method).scores; }
  // Blocks that each weight drops and grows in the update after `step`; any number for those elsewhere. Reads
  // candidates of scored() methods; values only with config.global, and then all weights are here.
  virtual std::vector<Change> counts(int64_t step, std::span<const WeightView> views) const;
  // The pattern of one weight after the update; its values are read. REQUIRES: `change` is the weight's of
  // counts(). A pattern with a rule (fan-in, n_of_m) may change less than that, never its rule.
  virtual Pattern next(int64_t step, size_t weight, const WeightView& view, Change change) const;

  // Empty scores of these weights, as large as an update may need; with config.global all compete.
  std::vector<GrowthScores> growth_scores(std::span<const size_t> weights) const;
  // The same of the rows or columns of one weight that are `here`: the best of all of these are among the
  // best of each. REQUIRES: not config.global; cells are not cut, but rows (fan-in) may be.
  GrowthScores growth_scores(size_t weight, const SparseWeight& here) const;
  // Candidates of a weight that are kept for an update; with config.global about its part of all.
  int64_t most_candidates(size_t weight) const;
  // Rows whose gradient is to be scored at `step`: in the scoring_steps up to an update each row comes once.
  RowRange scored_rows(int64_t step, size_t weight) const;
  // The rows of one of the scoring_steps parts.
  RowRange scored_part(int64_t part, size_t weight) const;

  const MethodSetup& setup() const { return setup_; }
  // Blocks of each weight: the given ones, else those with which the method arrives. Pruning arrives at the
  // config's, whatever it begins with.
  const std::vector<int64_t>& budget() const { return budget_; }

 protected:
  const SparsityConfig& config() const { return setup_.config; }
  const SparseWeight& weight(size_t index) const { return setup_.weights[index]; }
  Cells cells(size_t index) const { return cells_of(config(), weight(index)); }

 private:
  int64_t most_dropped(int64_t blocks) const;  // by one update, of so many

  MethodSetup setup_;
  std::vector<int64_t> budget_;
};

// REQUIRES: the method is not kDense.
std::unique_ptr<Method> make_method(MethodSetup setup);

}  // namespace fern
