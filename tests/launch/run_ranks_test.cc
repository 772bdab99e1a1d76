// Many ranks on one machine, more than it has cores.
#include "tests/launch/whole_run.h"

namespace fern {
namespace {

class RanksRun : public Run {};

TEST_F(RanksRun, OneTwoFourAndEightGrowTheSameSparseModel) {
  std::vector<std::string> settings;
  for (const char* setting : {"sparsity.method=rigl", "sparsity.sparsity=0.8", "sparsity.interval=5",
                              "sparsity.scoring_steps=3", "train.steps=24", "checkpoint.every=8",
                              "checkpoint.keep=0", "batch.micro_sequences=1", "batch.reduction_shards=8"})
    settings.insert(settings.end(), {"--set", setting});
  ASSERT_EQ(run_fern(train("ranks_1", settings)).exit_code, 0);
  const std::vector<std::string> topologies = topology_hashes("ranks_1");
  ASSERT_GE(topologies.size(), 3u);
  EXPECT_NE(topologies[0], topologies[1]);
  for (const int ranks : {2, 4, 8}) {
    const std::string run = "ranks_" + std::to_string(ranks);
    const Outcome outcome = run_fern_on(ranks, train(run, settings));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_equal("ranks_1", run);
    EXPECT_EQ(topology_hashes(run), topologies);
  }
}

}  // namespace
}  // namespace fern
