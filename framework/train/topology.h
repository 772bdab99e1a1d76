// Which weights exist while a model trains: applies a method's decisions (sparsity/method.h) at the steps
// that it names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/checkpoint/checkpoint.h"
#include "framework/core/arena.h"
#include "framework/model/parameters.h"
#include "framework/optim/adamw.h"
#include "framework/sparsity/method.h"
#include "framework/train/initial_patterns.h"
#include "framework/train/pattern_link.h"
#include "framework/train/reducers.h"
#include "framework/train/topology_change.h"
#include "framework/train/topology_metrics.h"
#include "framework/train/weight_record.h"

namespace fern {

struct TopologyCounts {
  int64_t dropped = 0, grown = 0;  // weights
};

// What one update did.
struct TopologyUpdate {
  TopologyCounts counts;
  int64_t nonzeros = 0;
  std::string hash;  // of all patterns; only where all are here, and on the process that writes checkpoints
};

class Topology {
 public:
  // The weights that are here, or shares of them, where others are elsewhere.
  struct Part {
    Parameters& whole;  // the layout of the whole model; kept as large as its patterns
    PatternLink& link;
  };
  // Takes room in `arena` (which may be measuring) for the rows of dense gradient that one step scores.
  // Borrows the parameters, and what `part` names. REQUIRES: they have the method's initial patterns, or
  // later ones.
  Topology(std::unique_ptr<Method> method, Parameters& parameters, Arena& arena,
           std::optional<Part> part = std::nullopt);

  const Method& method() const { return *method_; }
  // Whether some weights are elsewhere.
  bool is_part() const { return &whole_ != &parameters_; }
  // Rows scored in one step, f32, flat, whole chunks; empty when the method scores none. To be reduced as
  // gradients are: those of a process's own experts, which are the rows from experts_begin() on, over the
  // processes that hold these.
  const Tensor& scored() const { return room_; }
  int64_t experts_begin() const { return experts_begin_; }
  // Whether step `step` (from 1), which is about to begin, scores rows. If so backward adds their gradient to
  // scored().
  bool begin_step(int64_t step);
  // scored() holds the sums over all processes.
  void take_scores(int64_t step);
  // Elements of the dense gradients that all processes together score at `step`, one copy of each.
  int64_t scored_elements(int64_t step) const;
  // Changes the patterns if an update follows `step`, after its optimizer update. Every process comes to the
  // same patterns of what it holds, and hears of all. REQUIRES: between two steps. All processes call it.
  std::optional<TopologyUpdate> update_after(int64_t step, AdamW& optimizer, GradReducer& gradients,
                                             int64_t updates);

  // Whether the weights are looked at after `step`: at the first and last, at every update, and every
  // sparsity.interval steps.
  bool watches(int64_t step) const;
  // Norms of the step's gradients, weight by weight. REQUIRES: before update_after(). All processes call it.
  std::vector<double> gradient_norms(const Slices& counted, ScalarReducer& scalars) const;
  // As the patterns now are. `norms` as gradient_norms() gave them; `updated`: update_after() has just
  // changed patterns. All processes call it.
  SparsityMetrics metrics(std::span<const double> norms, bool updated) const;

  // For checkpoints. What is remembered of all weights, with their patterns where these are not all here:
  // on the process that writes; empty on others. All processes call it.
  struct Memory {
    std::optional<Parameters> whole = {};  // with all patterns
    TopologyMemory memory = {};
  };
  Memory memory(const WeightAges& ages) const;
  // REQUIRES: the parameters have the checkpoint's patterns.
  void restore(const TopologyMemory& memory);

  size_t bytes() const;  // of what is kept outside the arena

 private:
  // A weight of the method that is here, or a share of it: which parameter, and where in its run.
  struct Place {
    size_t weight = 0;
    int parameter = 0;
    ParameterRun run;
    int64_t first_row = 0;
    SparseWeight here = {};  // the rows and columns that are here
  };
  // Rows that are scored in one step.
  struct Window {
    size_t place = 0;
    RowRange rows;
    Tensor gradient;  // [rows, columns], in the room for all
  };
  const SparseWeight& weight_at(size_t place) const {
    return method_->setup().weights[places_[place].weight];
  }
  const Parameter& parameter_at(size_t place) const {
    return parameters_.list()[static_cast<size_t>(places_[place].parameter)];
  }
  // Of rows of a weight, those that are here, counted from the first that is.
  RowRange rows_here(size_t place, RowRange rows) const;
  std::vector<Window> windows_of(int64_t step) const;
  // Of what is here.
  Pattern pattern_of(size_t place) const;
  std::span<const float> values_here(size_t place, std::vector<float>& room) const;
  // Of the whole weight, whose pattern `pattern` is.
  std::span<const float> values_of(size_t place, const Pattern& pattern, std::vector<float>& room) const;
  std::vector<size_t> weights_here() const;
  // Of whole weights, those elsewhere empty. All processes call it.
  struct NextPatterns {
    std::vector<Pattern> patterns = {};
    bool grow = false;  // whether any weight is new
  };
  NextPatterns next_patterns(int64_t step);
  // Gives what is here the patterns that come of an update, of whole weights.
  TopologyCounts change_to(std::vector<Pattern> next, AdamW& optimizer, GradReducer& gradients,
                           int64_t updates, bool ages);
  // Views of all weights of the method.
  std::vector<WeightView> with_those_elsewhere(std::span<const WeightView> here) const;
  bool is_own_expert(int parameter) const {
    return static_cast<size_t>(parameter) >= parameters_.own_experts();
  }
  // Whether this process speaks for a parameter that is here, or for the share of it that is: all that share
  // it do or none.
  bool speaks_for(int parameter) const {
    return parameters_.list()[static_cast<size_t>(parameter)].place.counted &&
           link_.speaks(is_own_expert(parameter));
  }
  // Whether it is this process that tells of the whole weight, shared or not.
  bool tells_of(size_t place) const {
    return speaks_for(places_[place].parameter) &&
           (parameter_at(place).place.whole == 0 || link_.share() == 0);
  }
  // The most elements that one step scores, of own experts or of all other weights here, as whole chunks.
  int64_t most_scored(bool own_experts) const;
  TopologyCounts sum_over_processes(const TopologyCounts& counts);
  std::string hash_of_all() const;
  // The shares of the weight, in order; of one that is not shared, itself.
  std::vector<Parameter> shares_of(size_t place) const;
  // Of the whole weight, from what all that share it tell. All that share matrices call it alike.
  WeightRecord whole_record(size_t place, WeightRecord own) const;
  Pattern whole_pattern(size_t place) const;
  // On the process that writes, what the one that holds the weight tells; empty on others.
  WeightRecord bring(size_t weight, std::optional<WeightRecord> own) const;
  WeightRecord record_at(size_t place, const WeightAges& ages) const;
  std::vector<SparseRun> sparse_of_whole(std::span<const Pattern> patterns) const;
  std::optional<size_t> place_of(size_t weight) const;  // none: it is elsewhere
  const Parameter& in_whole(size_t weight) const;

  std::unique_ptr<Method> method_;
  Parameters& parameters_;
  Parameters& whole_;  // parameters_, where all weights are here
  SoloPatternLink solo_link_;
  PatternLink& link_;
  std::vector<Place> places_;                    // in the order of weights
  std::vector<GrowthScores> scores_;             // by place; none unless the method is scored()
  std::vector<EverActive> ever_;                 // by place; none unless weights come back
  std::vector<int64_t> first_nonzeros_, grown_;  // by place: at the start; by the last update
  Tensor room_;
  int64_t experts_begin_ = 0;
};

}  // namespace fern
