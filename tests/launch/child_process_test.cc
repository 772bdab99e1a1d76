#include "launch/child_process.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "framework/core/error.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

fs::path output_file() {
  const fs::path file =
      fs::path(testing::TempDir()) /
      (std::string("child-") + testing::UnitTest::GetInstance()->current_test_info()->name());
  fs::remove(file);
  return file;
}

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

template <typename Condition>
bool comes_true(const Condition& condition) {
  for (int i = 0; i < 400 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return condition();
}

TEST(ChildProcess, WhatItPrintsIsKeptAndItsExitCodeTold) {
  const fs::path file = output_file();
  const ChildOutcome outcome = run_child({"sh", "-c", "echo one; echo two >&2; exit 7"}, file, false);
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_EQ(text_of(file), "one\ntwo\n");
}

TEST(ChildProcess, AProgramThatIsNotThereIsNamed) {
  try {
    run_child({"/nowhere/program"}, output_file(), false);
    FAIL() << "it was started";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/program"), std::string::npos) << error.what();
  }
}

TEST(ChildProcess, ItEndsWhenItsParentIsKilled) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // the orphan becomes ours, to be waited for
  const fs::path file = output_file();
  const pid_t parent = ::fork();
  if (parent == 0) {
    run_child({"sh", "-c", "echo $$; exec sleep 600"}, file, false);
    ::_exit(0);
  }
  ASSERT_TRUE(comes_true([&] { return text_of(file).ends_with('\n'); }));
  const auto orphan = static_cast<pid_t>(std::stol(text_of(file)));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  int status = 0;
  const bool ended =
      comes_true([&] { return WIFSIGNALED(status) || ::waitpid(orphan, &status, WNOHANG) == orphan; });
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  if (!ended) ::kill(orphan, SIGKILL);
  EXPECT_TRUE(ended);
  EXPECT_EQ(WTERMSIG(status), SIGUSR1);
}

}  // namespace
}  // namespace fern
