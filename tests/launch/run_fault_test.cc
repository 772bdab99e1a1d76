// Real runs on four ranks, of which one goes wrong: the others say so in time, and the run can go on.
#include <chrono>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

class Fault : public Run {
 protected:
  static constexpr int kRank = 2, kStep = 15;
  // Half of what users have, so that a loaded machine still ends within what they are promised.
  static constexpr const char* kStall = "parallel.stall_seconds=5";
  static constexpr double kPromise_s = 10;
  // A loop that gets little of a busy machine's time is told from slow work only later.
  static constexpr double kBusyPromise_s = 25;

  // launch/ranks.sh, on four ranks whose rank 2 has this fault in step 15.
  static std::vector<std::string> command(const std::string& fault, const std::string& run,
                                          std::vector<std::string> script_options = {}) {
    std::vector<std::string> words = {"sh", FERN_SOURCE_ROOT "/launch/ranks.sh"};
    words.insert(words.end(), script_options.begin(), script_options.end());
    for (const std::string& word : {std::string("4"), std::string(FAULTY_FERN), fault, std::to_string(kRank),
                                    std::to_string(kStep), path(run + ".once")})
      words.push_back(word);
    for (const std::string& word : train(run, {"--set", "checkpoint.every=10", "--set", kStall}))
      words.push_back(word);
    return words;
  }

  // Runs it; expects it to end in time, with 4, saying `expected`, and to leave a run that can be continued.
  static void expect_found(const std::string& fault, const std::vector<std::string>& expected,
                           double promise_s = kPromise_s) {
    Program program(command(fault, fault));
    ASSERT_NO_FATAL_FAILURE(wait_for_steps(fault, kStep - 1));
    const auto begin = Clock::now();
    const Outcome outcome = program.wait();
    EXPECT_LT(std::chrono::duration<double>(Clock::now() - begin).count(), promise_s);
    EXPECT_EQ(outcome.exit_code, 4);
    for (const std::string& part : expected)
      EXPECT_TRUE(has(outcome.err, part)) << "no \"" << part << "\" in:\n" << outcome.err;
    const std::vector<fs::path> left = checkpoints(fault);
    ASSERT_FALSE(left.empty());
    EXPECT_EQ(left.back().filename(), "step-000010");
    EXPECT_EQ(run_fern({"inspect", left.back().string()}).exit_code, 0);
    ASSERT_EQ(run_fern(train(fault)).exit_code, 0);
    EXPECT_EQ(weights_hash(checkpoints(fault).back()), weights_hash(checkpoints("whole").back()));
  }
};

TEST_F(Fault, StoppedRankIsNamed) {
  expect_found("stop", {"rank 2 is stopped", "step 15", "backward pass, layer 0",
                        "waits in exchange of gradient bucket 0, layers 0 to 1"});
}

TEST_F(Fault, KilledRankIsNamed) {
  expect_found("kill", {"rank 2 is gone", "step 15", "backward pass, layer 0"});
}

TEST_F(Fault, EndlessLoopIsNamed) {
  expect_found("loop",
               {"rank 2 does not get on", "step 15", "backward pass, layer 0",
                "waits in exchange of gradient bucket 0, layers 0 to 1"},
               kBusyPromise_s);
}

TEST_F(Fault, CollectiveInAnotherOrderIsNamed) {
  expect_found("order", {"rank 2 called barrier of 0 bytes", "ranks 0, 1, 3 called all_reduce_sum",
                         "step 15, gradient sums"});
}

TEST_F(Fault, CollectiveOfAnotherSizeIsNamed) {
  expect_found("size", {"rank 2 called all_reduce_sum", "ranks 0, 1, 3 called all_reduce_sum",
                        "step 15, gradient sums"});
}

TEST_F(Fault, CollectiveThatIsNotCalledIsNamed) {
  expect_found("skip", {"rank 2 ", "ranks 0, 1, 3 ", "all_reduce_sum", "step 15"});
}

// Two stages of two ranks; rank 2 is in the second.
TEST_F(Fault, StoppedStageIsNamed) {
  std::vector<std::string> words = command("stop_stage", "stage");
  words.insert(words.end(), {"--set", "parallel.pipeline=2"});
  Program program(words);
  ASSERT_NO_FATAL_FAILURE(wait_for_steps("stage", kStep - 1));
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 4);
  for (const char* part : {"rank 2 is stopped", "step 15", "pass, layer 1"})
    EXPECT_TRUE(has(outcome.err, part)) << "no \"" << part << "\" in:\n" << outcome.err;
}

// Of two stages of two ranks that share matrices.
TEST_F(Fault, StoppedShareOfAStageIsNamed) {
  std::vector<std::string> words = command("stop_stage", "share");
  words.insert(words.end(), {"--set", "parallel.pipeline=2", "--set", "parallel.tensor=2"});
  Program program(words);
  ASSERT_NO_FATAL_FAILURE(wait_for_steps("share", kStep - 1));
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 4);
  for (const char* part : {"rank 2 is stopped", "step 15", "pass, layer 1"})
    EXPECT_TRUE(has(outcome.err, part)) << "no \"" << part << "\" in:\n" << outcome.err;
}

TEST_F(Fault, SlowCheckpointIsNoFault) {
  std::vector<std::string> words = command("slow", "slow");
  for (std::string& word : words)
    if (word == std::to_string(kStep)) word = "20";  // a step that saves
  words.insert(words.end(), {"--set", "parallel.stall_seconds=2"});
  const Outcome outcome = Program(words).wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(fs::exists(path("slow.once"))) << "it was not slow";
}

TEST_F(Fault, RestartGoesOnWithTheRanksThatAreLeft) {
  const Outcome outcome = Program(command("kill", "restarted", {"--restarts", "1"})).wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "rank 2 is gone")) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "on 2 rank(s): the most of the 3 left")) << outcome.err;
  EXPECT_EQ(weights_hash(checkpoints("restarted").back()), weights_hash(checkpoints("whole").back()));
}

// Of three ranks left two can be the stages.
TEST_F(Fault, RestartKeepsTheStages) {
  std::vector<std::string> words = command("stop_stage", "stages", {"--restarts", "1"});
  words.insert(words.end(), {"--set", "parallel.pipeline=2"});
  const Outcome outcome = Program(words).wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "rank 2 is stopped")) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "on 2 rank(s): the most of the 3 left")) << outcome.err;
  EXPECT_EQ(weights_hash(checkpoints("stages").back()), weights_hash(checkpoints("whole").back()));
}

}  // namespace
}  // namespace fern
