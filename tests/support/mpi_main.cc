// The main of tests under mpirun: rank 0 reports, and the program fails when a test fails on any rank.
#include "tests/support/mpi_main.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

namespace fern::testing_support {

namespace {

std::unique_ptr<Communicator>& holder() {
  static std::unique_ptr<Communicator> communicator;
  return communicator;
}

// Says which rank an expectation failed on, since only rank 0 has a reporter of its own.
class RankReporter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed())
      std::fprintf(stderr, "rank %d: %s:%d: %s\n", world().rank(), result.file_name(), result.line_number(),
                   result.summary());
  }
};

}  // namespace

Communicator& world() { return *holder(); }

}  // namespace fern::testing_support

int main(int argc, char** argv) {
  using fern::testing_support::holder;
  testing::InitGoogleTest(&argc, argv);
  holder() = fern::make_communicator(&argc, &argv);
  fern::Communicator& world = *holder();
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (world.rank() > 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new fern::testing_support::RankReporter);
  }
  std::array<double, 1> failures = {RUN_ALL_TESTS() == 0 ? 0.0 : 1.0};
  world.all_reduce_sum(failures);
  holder().reset();
  return failures[0] > 0 ? 1 : 0;
}
