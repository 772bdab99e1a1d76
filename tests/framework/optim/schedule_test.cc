#include "framework/optim/schedule.h"

#include <gtest/gtest.h>

#include <limits>

#include "framework/core/error.h"

namespace fern {
namespace {

Schedule schedule_of(ScheduleKind kind) {
  return {
      .kind = kind, .peak = 1e-3, .final_fraction = 0.1, .warmup_steps = 10, .decay_steps = 20, .steps = 110};
}

TEST(Schedule, WarmsUpLinearlyToThePeak) {
  const Schedule schedule = schedule_of(ScheduleKind::kCosine);
  EXPECT_DOUBLE_EQ(schedule.at(0), 1e-4);
  EXPECT_DOUBLE_EQ(schedule.at(4), 5e-4);
  EXPECT_DOUBLE_EQ(schedule.at(9), 1e-3);
}

TEST(Schedule, StartsAtThePeakWithoutWarmUp) {
  Schedule schedule = schedule_of(ScheduleKind::kLinear);
  schedule.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(schedule.at(0), 1e-3);
}

TEST(Schedule, CosineIsHalfWayAtTheMiddleAndFinalAtTheEnd) {
  const Schedule schedule = schedule_of(ScheduleKind::kCosine);
  EXPECT_DOUBLE_EQ(schedule.at(59), 1e-3 * (0.1 + 0.9 * 0.5));
  EXPECT_DOUBLE_EQ(schedule.at(109), 1e-4);
  EXPECT_GT(schedule.at(34), 1e-3 * (0.1 + 0.9 * 0.75));
}

TEST(Schedule, LinearFallsByEqualParts) {
  const Schedule schedule = schedule_of(ScheduleKind::kLinear);
  EXPECT_DOUBLE_EQ(schedule.at(59), 1e-3 * (0.1 + 0.9 * 0.5));
  EXPECT_DOUBLE_EQ(schedule.at(84), 1e-3 * (0.1 + 0.9 * 0.25));
  EXPECT_DOUBLE_EQ(schedule.at(109), 1e-4);
}

TEST(Schedule, ConstantStaysAtThePeak) {
  const Schedule schedule = schedule_of(ScheduleKind::kConstant);
  EXPECT_DOUBLE_EQ(schedule.at(10), 1e-3);
  EXPECT_DOUBLE_EQ(schedule.at(109), 1e-3);
}

TEST(Schedule, WarmupStableDecayHoldsThenFalls) {
  const Schedule schedule = schedule_of(ScheduleKind::kWarmupStableDecay);
  EXPECT_DOUBLE_EQ(schedule.at(10), 1e-3);
  EXPECT_DOUBLE_EQ(schedule.at(89), 1e-3);
  EXPECT_DOUBLE_EQ(schedule.at(99), 1e-3 * (0.1 + 0.9 * 0.5));
  EXPECT_DOUBLE_EQ(schedule.at(109), 1e-4);
}

TEST(Schedule, StaysAtTheFinalRateAfterTheLastStep) {
  for (const ScheduleKind kind : {ScheduleKind::kConstant, ScheduleKind::kCosine, ScheduleKind::kLinear,
                                  ScheduleKind::kWarmupStableDecay}) {
    const Schedule schedule = schedule_of(kind);
    EXPECT_DOUBLE_EQ(schedule.at(1000), schedule.at(109));
  }
}

TEST(Schedule, AcceptsARunThatIsAllWarmUp) {
  Schedule schedule = schedule_of(ScheduleKind::kCosine);
  schedule.warmup_steps = schedule.steps;
  validate(schedule);
  EXPECT_DOUBLE_EQ(schedule.at(109), 1e-3);
}

TEST(Schedule, RefusesRatesAndLengthsThatCannotBe) {
  const Schedule good = schedule_of(ScheduleKind::kWarmupStableDecay);
  validate(good);
  const auto refused = [&](auto&& spoil) {
    Schedule schedule = good;
    spoil(schedule);
    EXPECT_THROW(validate(schedule), Error);
  };
  refused([](Schedule& s) { s.peak = 0; });
  refused([](Schedule& s) { s.peak = std::numeric_limits<double>::quiet_NaN(); });
  refused([](Schedule& s) { s.final_fraction = -0.1; });
  refused([](Schedule& s) { s.final_fraction = 1.5; });
  refused([](Schedule& s) { s.steps = 0; });
  refused([](Schedule& s) { s.warmup_steps = -1; });
  refused([](Schedule& s) { s.warmup_steps = 111; });
  refused([](Schedule& s) { s.decay_steps = 0; });
  refused([](Schedule& s) { s.decay_steps = 101; });
}

}  // namespace
}  // namespace fern
