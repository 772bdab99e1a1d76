#include "framework/train/loss_change.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

TEST(LossChange, ComparesTheStepsBeforeAndAfterAnUpdate) {
  LossChange change;
  for (int64_t step = 1; step <= 12; ++step) {
    // The last five before the update have mean 8, the first five after it mean 13.
    const auto report = change.add(step, {{"am", static_cast<double>(step) - 2 + 3}}, step == 9);
    EXPECT_FALSE(report) << step;
  }
  EXPECT_FALSE(change.add(13, {{"am", 14.0}}, false));
  const auto report = change.add(14, {{"am", 15.0}}, false);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->update, 9);
  EXPECT_EQ(report->languages, (LossChange::Losses{{"am", 5.0}}));
}

TEST(LossChange, LeavesOutLanguagesOfOneSide) {
  LossChange change;
  change.add(1, {{"am", 1.0}, {"sw", 2.0}}, true);
  change.add(2, {{"yo", 9.0}}, false);
  const auto report = change.add(3, {{"sw", 3.0}}, true);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->languages, (LossChange::Losses{{"sw", 1.0}}));
}

TEST(LossChange, EndsWithTheNextUpdate) {
  LossChange change;
  change.add(1, {{"am", 5.0}}, true);
  change.add(2, {{"am", 3.0}}, false);
  const auto first = change.add(3, {{"am", 1.0}}, true);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->languages.at("am"), 2.0 - 5.0);
  const auto second = change.add(4, {{"am", 8.0}}, true);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->update, 3);
  EXPECT_EQ(second->languages.at("am"), 8.0 - 2.0);
}

}  // namespace
}  // namespace fern
