// Languages whose routing has collapsed: all of their tokens go to the same few experts, while the batch as a
// whole uses many. That is how a minority loses what experts would give it without any figure of the whole
// batch showing it.
//
// Measured by the effective number of experts (ExpertUse::effective), which lies between K, where all tokens
// choose the same K, and E. A language has collapsed in a layer when, in kIntervals intervals in a row in
// which it had at least kLeastTokens x E tokens, it was below K + (E - K) / 10 while all tokens together were
// above K + (E - K) / 2.
// It has recovered when it is above K + (E - K) / 2 itself, or the batch is not. If later it is no more, it
// is corrected again; and if it is below the first bound, it has collapsed again at once.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/layers/routing_state.h"
#include "framework/model/config.h"
#include "framework/train/expert_metrics.h"

namespace fern {

class CollapseWatch {
 public:
  static constexpr int64_t kIntervals = 3;
  static constexpr double kLeastTokens = 4;
  // A correction moves by so much in each step, and when its language has recovered loses such a share of
  // itself.
  static constexpr double kCorrection = 0.02, kFading = 0.005;

  CollapseWatch(const ExpertConfig& config, int64_t layers, int64_t languages);
  // Hears of the next interval, and notes in it which languages have collapsed.
  void add(ExpertMetrics& metrics);
  bool has_collapsed(int64_t layer, int64_t language) const { return streak(layer, language) >= kIntervals; }
  // Moves the corrections (RoutingState) of languages that have collapsed, or need some again, towards the
  // experts that they chose less than the mean in this step, and fades those of others. REQUIRES: state has
  // corrections.
  void correct(RoutingState& state, const RoutingCounts& counts) const;

  // Intervals in a row, by layer and language; for checkpoints.
  const std::vector<int64_t>& streaks() const { return streaks_; }
  // Errors: another number of them.
  void restore(std::vector<int64_t> streaks);

 private:
  int64_t streak(int64_t layer, int64_t language) const {
    return streaks_[static_cast<size_t>(layer * languages_ + language)];
  }

  // In place of intervals, of a language that has recovered: it needs no correction, or some again.
  static constexpr int64_t kRecovered = -1, kInCare = -2;

  double low_, high_, least_tokens_;
  int64_t languages_;
  std::vector<int64_t> streaks_;
};

}  // namespace fern
