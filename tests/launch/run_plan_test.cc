// `fern plan` beside the run it plans.
#include <cstdlib>
#include <thread>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

class Plan : public Run {};

// The number before `word` in the line that has it.
double number_before(const std::string& text, const std::string& word) {
  const size_t end = text.find(word);
  if (end == std::string::npos) return -1;
  const size_t begin = text.find_last_of("( ", end - 1);
  return std::atof(text.c_str() + begin + 1);
}

std::vector<std::string> plan(const std::string& recipe, std::vector<std::string> more) {
  std::vector<std::string> words = {"plan", recipe, "--set", "train.threads=1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// A tiny run is mostly the program itself, so this is a loose bound: the figures are in the README.
TEST_F(Plan, PeakMemoryIsNearThePrediction) {
  const Outcome run = run_fern(train("measured"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const size_t line = run.err.find("peak memory");
  ASSERT_NE(line, std::string::npos) << run.err;
  const double difference = number_before(run.err.substr(line), " %)");
  EXPECT_LT(std::abs(difference), 15) << run.err.substr(line);
  const Outcome planned = run_fern(plan(path("recipe.toml"), {"--no-calibration"}));
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_GT(number_before(planned.out, " bytes)"), 1e7) << planned.out;
}

TEST_F(Plan, SpeedIsPredictedForEachLayoutUnlessLeftOut) {
  const Outcome planned = run_fern(plan(path("recipe.toml"), {}));
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_TRUE(has(planned.out, "tokens/s")) << planned.out;
  EXPECT_TRUE(has(planned.out, "Fern would take this one")) << planned.out;
  const Outcome brief = run_fern(plan(path("recipe.toml"), {"--no-calibration"}));
  EXPECT_FALSE(has(brief.out, "tokens/s")) << brief.out;
}

TEST_F(Plan, ABatchTooLargeForTheMachineIsRefusedByPlanAndTrain) {
  const std::vector<std::string> huge = {
      "--set", "batch.sequences=1048576",  "--set", "batch.micro_sequences=1048576",
      "--set", "batch.reduction_shards=1", "--set", "model.context=16384"};
  const Outcome planned = run_fern(plan(path("recipe.toml"), huge));
  EXPECT_EQ(planned.exit_code, 1) << planned.out;
  EXPECT_TRUE(has(planned.err, "does not fit")) << planned.err;
  const Outcome run = run_fern(train("huge", huge));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(has(run.err, "does not fit")) << run.err;
}

TEST_F(Plan, RanksOfOneMachineSayWhichCoresTheyHave) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one core";
  const Outcome run = run_fern_on(2, train("bound"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(has(run.err, "cores of its own")) << run.err;
  expect_equals_whole("bound");
}

}  // namespace
}  // namespace fern
