#include "parallel/process_view.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fern {
namespace {

TEST(ProcessView, SeesOneStop) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  kill(child, SIGSTOP);
  int status = 0;
  waitpid(child, &status, WUNTRACED);
  EXPECT_EQ(view_process(child).value().state, 'T');
  EXPECT_FALSE(is_traced(child));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  EXPECT_FALSE(view_process(child));
}

TEST(ProcessView, SeesItself) {
  EXPECT_EQ(own_process().id, getpid());
  EXPECT_GT(own_process().start, 0u);
  EXPECT_EQ(own_process().start, view_process(getpid())->start);
}

}  // namespace
}  // namespace fern
