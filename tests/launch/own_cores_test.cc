// On several ranks of one machine.
#include <gtest/gtest.h>
#include <sched.h>

#include <numeric>

#include "launch/affinity.h"
#include "tests/support/mpi_main.h"

namespace fern {
namespace {

using testing_support::world;

TEST(Affinity, RanksOfOneMachineTakeDisjointCores) {
  const std::vector<int> allowed = allowed_cores();
  if (static_cast<int>(allowed.size()) < world().local_size()) GTEST_SKIP() << "more ranks than cores";
  take_own_cores(world().local_rank(), world().local_size(), 1);
  std::vector<double> users(CPU_SETSIZE);
  for (const int core : allowed_cores()) users[static_cast<size_t>(core)] = 1;
  world().all_reduce_sum(users);
  for (const double ranks : users) EXPECT_LE(ranks, 1.0);
  EXPECT_EQ(std::accumulate(users.begin(), users.end(), 0.0), static_cast<double>(allowed.size()));
}

}  // namespace
}  // namespace fern
