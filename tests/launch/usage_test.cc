#include <gtest/gtest.h>

#include "tests/launch/program.h"

namespace fern {
namespace {

constexpr int kDone = 0, kBadUsage = 2;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Usage, NoCommandIsBadUsage) {
  const Outcome outcome = run_fern({});
  EXPECT_EQ(outcome.exit_code, kBadUsage);
  EXPECT_TRUE(has(outcome.err, "expected a command")) << outcome.err;
}

TEST(Usage, AnUnknownCommandIsAnsweredWithTheNearest) {
  const Outcome outcome = run_fern({"hlep"});
  EXPECT_EQ(outcome.exit_code, kBadUsage);
  EXPECT_TRUE(has(outcome.err, "did you mean \"help\"?")) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

TEST(Usage, AnUnknownOptionIsBadUsage) {
  const Outcome outcome = run_fern({"help", "--colour"});
  EXPECT_EQ(outcome.exit_code, kBadUsage);
  EXPECT_TRUE(has(outcome.err, "--colour")) << outcome.err;
}

TEST(Usage, NumbersOutOfRangeAreRefusedWithTheRange) {
  const std::vector<std::string> wrong[] = {
      {"collect", "x.jsonl", "--out", "y", "--threads", "-1"},
      {"collect", "x.jsonl", "--out", "y", "--threads", "999999"},
      {"evaluate", "x", "--max-sequences", "-5"},
      {"export", "x", "--out", "y", "--max-file-gb", "-1"},
      {"export", "x", "--out", "y", "--max-file-gb", "nan"},
      {"generate", "x", "--prompt", "y", "--seed", "-1"},
      {"generate", "x", "--prompt", "y", "--seed", "99999999999999999999"},
      {"prune", "x", "--out", "y", "--seed", "-1"},
      {"prune", "x", "--out", "y", "--seed", "9223372036854775808"},
      {"prune", "x", "--out", "y", "--block", "0"},
      {"prune", "x", "--out", "y", "--n", "-1"},
      {"prune", "x", "--out", "y", "--m", "1025"},
  };
  for (const std::vector<std::string>& words : wrong) {
    const Outcome outcome = run_fern(words);
    EXPECT_EQ(outcome.exit_code, kBadUsage) << words[0];
    EXPECT_TRUE(has(outcome.err, words[words.size() - 2])) << outcome.err;
    EXPECT_LT(outcome.err.size(), 200u) << outcome.err;
  }
}

TEST(Usage, HelpListsTheCommands) {
  const Outcome outcome = run_fern({"help"});
  EXPECT_EQ(outcome.exit_code, kDone);
  EXPECT_TRUE(has(outcome.out, "Exit codes")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "help"));
  EXPECT_EQ(outcome.err, "");
}

TEST(Usage, TheHelpOptionDoesTheSame) {
  const Outcome outcome = run_fern({"--help"});
  EXPECT_EQ(outcome.exit_code, kDone);
  EXPECT_EQ(outcome.out, run_fern({"help"}).out);
}

TEST(Usage, HelpRecipeExplainsKeys) {
  const Outcome outcome = run_fern({"help", "recipe"});
  EXPECT_EQ(outcome.exit_code, kDone);
  EXPECT_TRUE(has(outcome.out, "reduction_shards")) << outcome.out;
}

TEST(Usage, HelpOnNothingKnownNamesTheTopics) {
  const Outcome outcome = run_fern({"help", "recipes"});
  EXPECT_EQ(outcome.exit_code, kBadUsage);
  EXPECT_TRUE(has(outcome.err, "did you mean \"recipe\"?")) << outcome.err;
}

}  // namespace
}  // namespace fern
