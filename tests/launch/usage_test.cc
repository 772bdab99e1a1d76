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
