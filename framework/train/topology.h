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
#include "framework/train/reducers.h"
#include "framework/train/topology_change.h"
#include "framework/train/topology_metrics.h"

namespace fern {

// What one update did.
struct TopologyUpdate {
  TopologyCounts counts;
  int64_t nonzeros = 0;
  std::string hash;  // of all patterns
};

class Topology {
 public:
  // Takes room in `arena` (which may be measuring) for the rows of dense gradient that one step scores.
  // Borrows the parameters. REQUIRES: they have the method's initial patterns, or later ones.
  Topology(std::unique_ptr<Method> method, Parameters& parameters, Arena& arena);

  const Method& method() const { return *method_; }
  // Rows scored in one step, f32, flat, whole chunks; empty when the method scores none. To be reduced as
  // gradients are.
  const Tensor& scored() const { return window_; }
  // Whether step `step` (from 1), which is about to begin, scores rows. If so backward adds their gradient to
  // scored().
  bool begin_step(int64_t step);
  // scored() holds the sums over all processes.
  void take_scores(int64_t step);
  // Changes the patterns if an update follows `step`, after its optimizer update. Every process comes to the
  // same patterns. REQUIRES: between two steps.
  std::optional<TopologyUpdate> update_after(int64_t step, AdamW& optimizer, GradReducer& gradients,
                                             int64_t updates);

  // Whether the weights are looked at after `step`: at the first and last, at every update, and every
  // sparsity.interval steps.
  bool watches(int64_t step) const;
  // Norms of the step's gradients, weight by weight. REQUIRES: before update_after(). All processes call it.
  std::vector<double> gradient_norms(Slice counted, ScalarReducer& scalars) const;
  // As the patterns now are. `norms` as gradient_norms() gave them; `updated`: update_after() has just
  // changed patterns.
  SparsityMetrics metrics(std::span<const double> norms, bool updated) const;

  // For checkpoints. restore() REQUIRES: the parameters have the checkpoint's patterns.
  std::vector<TopologyMemory::Scores> scores() const;
  std::vector<TopologyMemory::EverActive> ever_active() const;
  void restore(const TopologyMemory& memory);

  size_t bytes() const;  // of what is kept outside the arena

 private:
  // A weight of the method: which parameter, and where in its run.
  struct Place {
    int parameter = 0;
    ParameterRun run;
    int64_t first_row = 0;
  };
  struct Part {
    size_t weight = 0;
    RowRange rows;
    Tensor gradient;  // [rows, columns], in the window
  };
  std::vector<Part> parts_of(int64_t step) const;
  Pattern pattern_of(size_t weight) const;
  std::span<const float> values_of(size_t weight, const Pattern& pattern, std::vector<float>& room) const;

  std::unique_ptr<Method> method_;
  Parameters& parameters_;
  std::vector<Place> places_;
  std::vector<GrowthScores> scores_;             // by weight; none unless the method is scored()
  std::vector<EverActive> ever_;                 // by weight; none unless weights come back
  std::vector<int64_t> first_nonzeros_, grown_;  // by weight: at the start; by the last update
  Tensor window_;
};

}  // namespace fern
