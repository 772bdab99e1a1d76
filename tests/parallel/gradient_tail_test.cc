#include "parallel/gradient_tail.h"

#include <gtest/gtest.h>

#include "framework/core/error.h"

namespace fern {
namespace {

Parameters three_parameters() {
  Parameters parameters;
  for (const char* name : {"first", "second", "third"})
    parameters.add(name, {10}, ParameterKind::kMatrix, 0.0);
  return parameters;
}

TEST(GradientTail, IsEmptyAtFirst) {
  const Parameters parameters = three_parameters();
  EXPECT_EQ(GradientTail(parameters.list()).begin(), 30);
}

TEST(GradientTail, GrowsOverWhatIsCompleteWithoutAGap) {
  const Parameters parameters = three_parameters();
  GradientTail tail(parameters.list());
  tail.add(parameters.list()[1]);
  EXPECT_EQ(tail.begin(), 30);
  tail.add(parameters.list()[2]);
  EXPECT_EQ(tail.begin(), 10);
  tail.add(parameters.list()[0]);
  EXPECT_EQ(tail.begin(), 0);
}

TEST(GradientTail, RestartsEmpty) {
  const Parameters parameters = three_parameters();
  GradientTail tail(parameters.list());
  tail.add(parameters.list()[2]);
  tail.restart();
  EXPECT_EQ(tail.begin(), 30);
  tail.add(parameters.list()[2]);
  EXPECT_EQ(tail.begin(), 20);
}

TEST(GradientTail, GradientReportedTwiceIsRefused) {
  const Parameters parameters = three_parameters();
  GradientTail tail(parameters.list());
  tail.add(parameters.list()[2]);
  EXPECT_THROW(tail.add(parameters.list()[2]), Error);
}

TEST(GradientTail, ParameterOfAnotherModelIsRefused) {
  const Parameters parameters = three_parameters();
  GradientTail tail(parameters.list());
  Parameter other = parameters.list()[2];
  other.offset = 5;
  EXPECT_THROW(tail.add(other), Error);
}

}  // namespace
}  // namespace fern
