// Whole training runs under many variants, each a case, held to the run of one process.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/parallel/small_run.h"

namespace fern {

// The most by which losses may differ where only the order of sums does, relative, of runs that are smooth().
inline const double kRounding = kSteps > 12 ? 1e-5 : 1e-6, kRoundingOfBF16 = kSteps > 12 ? 2e-2 : 2e-3;
// So that rounding does not grow, and no fault hides in it: with this epsilon AdamW makes no whole step of a
// gradient that is next to nothing, whichever way rounding points it; and matrices begin large enough for the
// loss to depend on each of them.
Variant smooth(Variant variant);

struct Case {
  std::string name;
  Variant variant;
  int ranks = 0;                 // for which it is; 0: for any number that its axes divide
  double tolerance = kRounding;  // relative, of each step's loss
};
void PrintTo(const Case& entry, std::ostream* out);
std::string name_of_case(const testing::TestParamInfo<Case>& info);

class RunCase : public testing::TestWithParam<Case> {
 protected:
  // Skips the case where there is no such mesh of the ranks there are.
  void SetUp() override;
  // The case's variant on the ranks there are, with what all cases of a test have in common.
  virtual Variant here() const = 0;
  // What all ranks come to together; once for all tests of a case. All call it.
  const RunResult& run_of_ranks() const;
  // What one process that never stops comes to; once for all tests of a case.
  const RunResult& reference() const;

  // Of a run that went to the end, or was resumed and did; looked at on the first rank.
  void expect_losses_of_one_process(const RunResult& run) const;
  void expect_topology_of_one_process(const RunResult& run) const;
  // Losses, norms, weights, moments and patterns.
  void expect_bits_of_one_process(const RunResult& run) const;
  // FLOPs, updates of patterns, and what is told of sparse weights, with norms of gradients to a relative
  // tolerance.
  void expect_logs_of_one_process(const RunResult& run, double norm_tolerance) const;
};

}  // namespace fern
