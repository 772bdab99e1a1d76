#include "parallel/process_view.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/parallel/stopped_process.h"

namespace fern {
namespace {

TEST(ProcessView, SeesOneStop) {
  pid_t id = 0;
  {
    const StoppedProcess stopped;
    id = stopped.id();
    EXPECT_EQ(view_process(id).value().state, 'T');
    EXPECT_FALSE(is_traced(id));
  }
  EXPECT_FALSE(view_process(id));
}

TEST(ProcessView, SeesItself) {
  EXPECT_EQ(own_process().id, getpid());
  EXPECT_GT(own_process().start, 0u);
  EXPECT_EQ(own_process().start, view_process(getpid())->start);
}

}  // namespace
}  // namespace fern
