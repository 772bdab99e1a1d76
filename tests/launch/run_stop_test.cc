// Runs that are interrupted, as a user or a cluster would: signals, kill -9, two at once.
#include <signal.h>

#include <chrono>
#include <thread>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// Long enough to be interrupted in.
std::vector<std::string> long_run(std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"--set", "train.steps=400", "--set", "checkpoint.every=150"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class LongRun : public Run {
 protected:
  static void SetUpTestSuite() {
    Run::SetUpTestSuite();
    ASSERT_EQ(run_fern(train("long", long_run())).exit_code, 0);
  }
};

TEST_F(LongRun, StopsOnRequestAndGoesOnWithOtherRanks) {
  for (int signal_number : {SIGTERM, SIGINT, SIGUSR1}) {
    const std::string run = "stopped" + std::to_string(signal_number);
    Program program(fern_command(train(run, long_run())));
    ASSERT_NO_FATAL_FAILURE(wait_for_steps(run, 3));
    program.send(signal_number);
    const Outcome outcome = program.wait();
    ASSERT_EQ(outcome.exit_code, 3) << outcome.err;
    ASSERT_EQ(run_fern_on(2, train(run, long_run())).exit_code, 0);
    expect_equal("long", run);
  }
}

// A handler that lands on the stack of a computing thread breaks what a generated kernel keeps there.
TEST_F(LongRun, ManySignalsOnSeveralThreadsOnlyStopIt) {
  for (int round = 0; round < 5; ++round) {
    const std::string run = "stormy" + std::to_string(round);
    Program program(fern_command(train(run, {"--set", "train.threads=2", "--set", "train.steps=100000"})));
    ASSERT_NO_FATAL_FAILURE(wait_for_steps(run, 1));
    for (int i = 0; i < 20; ++i) {
      program.send(i % 2 == 0 ? SIGUSR1 : SIGTERM);
      std::this_thread::sleep_for(std::chrono::microseconds(200 * i));
    }
    const Outcome outcome = program.wait();
    ASSERT_EQ(outcome.exit_code, 3) << outcome.err;
  }
}

TEST_F(LongRun, RanksAgreeToStop) {
  Program program(fern_command_on(2, train("agreed", long_run())));
  ASSERT_NO_FATAL_FAILURE(wait_for_steps("agreed", 3));
  program.send(SIGUSR1);
  EXPECT_EQ(program.wait().exit_code, 3);
  ASSERT_EQ(run_fern(train("agreed", long_run())).exit_code, 0);
  expect_equal("long", "agreed");
}

TEST_F(LongRun, TheRanksScriptWaitsUntilTheRanksHaveSaved) {
  std::vector<std::string> words = {"sh", FERN_SOURCE_ROOT "/launch/ranks.sh", "2"};
  for (const std::string& word : fern_command(train("scripted", long_run()))) words.push_back(word);
  Program program(words);
  ASSERT_NO_FATAL_FAILURE(wait_for_steps("scripted", 3));
  program.send(SIGTERM);
  EXPECT_EQ(program.wait().exit_code, 3);
  ASSERT_EQ(run_fern(train("scripted", long_run())).exit_code, 0);
  expect_equal("long", "scripted");
}

TEST_F(LongRun, KilledRunGoesOnFromItsLastCheckpoint) {
  const std::vector<std::string> often = long_run({"--set", "checkpoint.every=2"});
  Program program(fern_command(train("killed", often)));
  ASSERT_NO_FATAL_FAILURE(wait_for_steps("killed", 9));
  program.send(SIGKILL);
  program.wait();
  const Outcome again = run_fern(train("killed", often));
  ASSERT_EQ(again.exit_code, 0);
  EXPECT_TRUE(has(again.err, "continuing from")) << again.err;
  expect_equal("long", "killed");
}

TEST_F(LongRun, TwoAtOnceInOneFolderAreRefused) {
  const std::vector<std::string> words = train("shared", {"--set", "train.steps=2000"});
  Program first(fern_command(words));
  ASSERT_NO_FATAL_FAILURE(wait_for_steps("shared", 1));
  const Outcome second = run_fern(words);
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_TRUE(has(second.err, "another fern train")) << second.err;
  first.send(SIGTERM);
  EXPECT_EQ(first.wait().exit_code, 3);
}

}  // namespace
}  // namespace fern
