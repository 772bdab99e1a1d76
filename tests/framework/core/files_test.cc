#include "framework/core/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>

#include "framework/core/error.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Files, WritingReplacesTheWholeFile) {
  const fs::path folder = fs::path(testing::TempDir()) / "files_replace";
  create_folders(folder);
  write_text_durably(folder / "a.json", "a longer first text");
  write_text_durably(folder / "a.json", "second");
  EXPECT_EQ(text_of(folder / "a.json"), "second");
  EXPECT_FALSE(fs::exists(folder / "a.json.tmp"));
  remove_tree(folder);
  EXPECT_FALSE(fs::exists(folder));
}

// A limit on file sizes fails writes as a full disk does, and works for root too.
TEST(Files, FailedWriteLeavesTheOldFileAndNothingBeside) {
  const fs::path folder = fs::path(testing::TempDir()) / "files_full";
  create_folders(folder);
  write_text_durably(folder / "a.json", "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(write_text_durably(folder / "a.json", std::string(1 << 20, 'x')), Error);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(text_of(folder / "a.json"), "old");
  EXPECT_FALSE(fs::exists(folder / "a.json.tmp"));
  remove_tree(folder);
}

}  // namespace
}  // namespace fern
