#include "framework/core/file_lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "framework/core/error.h"

namespace fern {
namespace {

// Two descriptors of one process hold apart like two processes.
TEST(FileLock, ASecondHolderIsRefusedUntilTheFirstLetsGo) {
  const auto path =
      std::filesystem::path(testing::TempDir()) / ("file_lock_test_" + std::to_string(getpid()));
  std::optional<FileLock> first;
  first.emplace(path, "busy");
  try {
    const FileLock second(path, "someone is at work");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "someone is at work");
  }
  first.reset();
  EXPECT_NO_THROW(FileLock(path, "busy"));
  std::filesystem::remove(path);
}

TEST(FileLock, AFolderThatIsNotThereIsNamed) {
  try {
    const FileLock lock("/nowhere/lock", "busy");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/lock"), std::string::npos);
  }
}

}  // namespace
}  // namespace fern
