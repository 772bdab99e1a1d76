#include "launch/machine.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace fern {
namespace {

// OMP_NUM_THREADS while a test runs; back to what it was at the end.
class ThreadsAsked {
 public:
  explicit ThreadsAsked(const char* text) {
    if (const char* before = std::getenv(kName)) before_ = before;
    text == nullptr ? unsetenv(kName) : setenv(kName, text, 1);
  }
  ~ThreadsAsked() { before_ ? setenv(kName, before_->c_str(), 1) : unsetenv(kName); }

 private:
  static constexpr const char* kName = "OMP_NUM_THREADS";
  std::optional<std::string> before_;
};

TEST(Threads, TheRecipeComesBeforeTheEnvironment) {
  const ThreadsAsked asked("5");
  EXPECT_EQ(threads_per_rank(3, 1), 3);
  EXPECT_EQ(threads_per_rank(0, 1), 5);
  EXPECT_EQ(threads_per_rank(0, 4), 5);  // each rank's, as mpirun -x gives it
}

TEST(Threads, OnlyTheOutermostLevelCounts) {
  const ThreadsAsked asked("4,2");
  EXPECT_EQ(threads_per_rank(0, 1), 4);
}

TEST(Threads, WhatIsNoNumberAsksForNothing) {
  for (const char* text : {"", "many", "-3", "0"}) {
    const ThreadsAsked asked(text);
    EXPECT_EQ(threads_of_environment(), 0) << text;
  }
}

TEST(Threads, ShareTheCoresWhereNobodyAsks) {
  const ThreadsAsked asked(nullptr);
  EXPECT_GE(threads_per_rank(0, 1), 1);
  EXPECT_LE(threads_per_rank(0, 1), own_cores());
  EXPECT_EQ(threads_per_rank(0, 1 << 20), 1);
}

}  // namespace
}  // namespace fern
