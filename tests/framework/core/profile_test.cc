#include "framework/core/profile.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/core/profile_report.h"

namespace fern {
namespace {

using namespace std::chrono_literals;

// A stream whose profile is past its warm-up.
struct Profiled {
  explicit Profiled(int64_t steps = Profile::kAllSteps, size_t most_events = 100)
      : profile(steps, most_events) {
    stream.set_profile(&profile);
    profile.begin_step(1);
    profile.begin_step(2);
  }
  const Profile::Total& total(std::string_view name) const {
    for (const Profile::Total& total : profile.totals())
      if (total.name == name) return total;
    throw std::out_of_range(std::string(name));
  }
  Profile profile;
  Stream stream;
};

void slow_op(const Stream& stream, std::string_view name, const OpWork& work = {}) {
  const OpTimer timer(stream, name, work);
  std::this_thread::sleep_for(2ms);
}

TEST(Profile, CountsCallsAndWorkOfAnOp) {
  Profiled run;
  for (int i = 0; i < 3; ++i) slow_op(run.stream, "product", {.flops = 100, .bytes = 10});
  const Profile::Total& total = run.total("product");
  EXPECT_EQ(total.calls, 3);
  EXPECT_EQ(total.work.flops, 300);
  EXPECT_EQ(total.work.bytes, 30);
  EXPECT_GE(total.own_s, 0.006);
}

TEST(Profile, TellsShapesOfAnOpApart) {
  Profiled run;
  slow_op(run.stream, "product", {.rows = 512, .columns = 1408});
  slow_op(run.stream, "product", {.rows = 1408, .columns = 512});
  ASSERT_EQ(run.profile.totals().size(), 2u);
  const std::string table = profile_table(run.profile);
  EXPECT_NE(table.find("product 512x1408"), std::string::npos) << table;
  EXPECT_NE(table.find("product 1408x512"), std::string::npos) << table;
}

TEST(Profile, NestedTimeCountsOnce) {
  Profiled run;
  {
    const SpanTimer step(run.stream, "step");
    const OpTimer outer(run.stream, "outer");
    slow_op(run.stream, "inner");
  }
  double own_s = 0;
  for (const Profile::Total& total : run.profile.totals()) own_s += total.own_s;
  EXPECT_NEAR(own_s, run.profile.total_s(), 1e-9);
  EXPECT_GE(run.total("inner").own_s, 0.002);
  EXPECT_LE(run.total("outer").own_s + run.total("step").own_s, run.profile.total_s() - 0.002);
}

TEST(Profile, TheTableEndsWithTimeInNoOp) {
  Profiled run;
  {
    const SpanTimer step(run.stream, "step");
    std::this_thread::sleep_for(5ms);
    slow_op(run.stream, "op");
  }
  const std::string table = profile_table(run.profile);
  EXPECT_EQ(table.find("step"), std::string::npos) << table;
  const size_t last = table.rfind('\n', table.size() - 2) + 1;
  ASSERT_TRUE(table.substr(last).starts_with("in no op")) << table;
  EXPECT_GE(std::stod(table.substr(last + std::string("in no op").size())), 5.0) << table;
}

TEST(Profile, LeavesTheWarmUpOutOfTheTotals) {
  Profile profile;
  Stream stream;
  stream.set_profile(&profile);
  profile.begin_step(1);
  slow_op(stream, "op");
  EXPECT_TRUE(profile.totals().empty());
  EXPECT_EQ(profile.total_s(), 0);
  profile.begin_step(2);
  slow_op(stream, "op");
  EXPECT_EQ(profile.totals().at(0).calls, 1);
  EXPECT_EQ(profile.events().size(), 2u);
}

TEST(Profile, StopsAfterTheStepsAskedFor) {
  Profiled run(/*steps=*/1);
  slow_op(run.stream, "op");
  for (int64_t step = 3; step < 6; ++step) {
    run.profile.begin_step(step);
    slow_op(run.stream, "op");
  }
  EXPECT_EQ(run.profile.steps(), 1);
  EXPECT_EQ(run.total("op").calls, 1);
}

TEST(Profile, DropsEventsThatFindNoRoomAndStillCountsThem) {
  Profiled run(Profile::kAllSteps, /*most_events=*/2);
  for (int i = 0; i < 5; ++i) slow_op(run.stream, "op");
  EXPECT_EQ(run.profile.events().size(), 2u);
  EXPECT_EQ(run.profile.dropped(), 3);
  EXPECT_EQ(run.total("op").calls, 5);
}

TEST(Profile, AStreamWithoutOneTimesNothing) {
  Profile profile;
  profile.begin_step(1);
  profile.begin_step(2);
  const Stream stream;
  slow_op(stream, "op");
  EXPECT_TRUE(profile.events().empty());
}

TEST(Profile, TheTraceIsJsonWhoseEventsNest) {
  Profiled run;
  {
    const SpanTimer step(run.stream, "step");
    slow_op(run.stream, "first", {.flops = 4, .rows = 2, .columns = 3});
    slow_op(run.stream, "second");
  }
  const auto path =
      std::filesystem::path(testing::TempDir()) / ("trace_" + std::to_string(getpid()) + ".json");
  write_profile_trace(path, run.profile, 3);
  const auto trace = nlohmann::json::parse(std::ifstream(path));
  std::filesystem::remove(path);
  const auto& events = trace.at("traceEvents");
  ASSERT_EQ(events.size(), 4u);
  const auto begin = [&](int i) { return events[i].at("ts").get<double>(); };
  const auto end = [&](int i) { return begin(i) + events[i].at("dur").get<double>(); };
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(events[i].at("ph"), "X");
    EXPECT_EQ(events[i].at("pid"), 3);
  }
  EXPECT_EQ(events[1].at("name"), "first 2x3");
  EXPECT_EQ(events[3].at("name"), "step");
  constexpr double kRounding_us = 0.01;
  EXPECT_LE(begin(3), begin(1) + kRounding_us);
  EXPECT_LE(end(1), begin(2) + kRounding_us);
  EXPECT_LE(end(2), end(3) + kRounding_us);
  EXPECT_GE(events[1].at("dur"), 2000);
}

}  // namespace
}  // namespace fern
