#include "framework/core/hdf5_file.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "framework/core/error.h"

namespace fern {
namespace {

std::filesystem::path temporary(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / fmt::format("hdf5_file_test_{}_{}", getpid(), name);
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_sample(const std::filesystem::path& path) {
  Hdf5File file = Hdf5File::create(path);
  file.write("weights/layers.0", std::span<const float>(std::vector<float>{1, 2, 3, 4, 5, 6}), {2, 3});
  file.write("ids", std::span<const int64_t>(std::vector<int64_t>{-1, 1LL << 40}));
  file.write("empty", std::span<const uint8_t>());
  file.set_attribute("/", "language", "sw");
  file.set_attribute("/", "note", "");
  file.set_attribute("weights/layers.0", "step", 7);
  file.close();
}

TEST(Hdf5File, ReadsBackWhatWasWritten) {
  const auto path = temporary("round_trip.h5");
  write_sample(path);
  const Hdf5File file = Hdf5File::open(path);
  std::vector<float> weights(6);
  file.read("weights/layers.0", std::span<float>(weights));
  EXPECT_EQ(weights, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(file.dataset("weights/layers.0").dims, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.datasets(), (std::vector<std::string>{"empty", "ids", "weights/layers.0"}));
  EXPECT_EQ(file.text_attribute("/", "language"), "sw");
  EXPECT_EQ(file.text_attribute("/", "note"), "");
  EXPECT_EQ(file.int_attribute("weights/layers.0", "step"), 7);
  EXPECT_EQ(file.dataset("empty").elements, 0);
  EXPECT_FALSE(file.contains("weights"));
}

TEST(Hdf5File, DatasetOffsetPointsAtAlignedLittleEndianValues) {
  const auto path = temporary("offset.h5");
  write_sample(path);
  const Hdf5Dataset ids = Hdf5File::open(path).dataset("ids");
  EXPECT_EQ(ids.offset_bytes % 64, 0u);
  ASSERT_EQ(ids.size_bytes, 16u);
  const std::string stored = bytes_of(path).substr(ids.offset_bytes, ids.size_bytes);
  EXPECT_EQ(stored, std::string("\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\1\0\0", 16));
}

TEST(Hdf5File, SameCallsWriteSameBytes) {
  write_sample(temporary("a.h5"));
  write_sample(temporary("b.h5"));
  EXPECT_EQ(bytes_of(temporary("a.h5")), bytes_of(temporary("b.h5")));
}

TEST(Hdf5File, WrongTypeOrSizeIsNamed) {
  const auto path = temporary("wrong.h5");
  write_sample(path);
  const Hdf5File file = Hdf5File::open(path);
  std::vector<int32_t> out(2);
  EXPECT_EQ(error_of([&] { file.read("ids", std::span<int32_t>(out)); }),
            path.string() + ": dataset ids: expected 2 values of int32, got int64 [2]");
  EXPECT_NE(error_of([&] { file.dataset("absent"); }).find("absent"), std::string::npos);
}

TEST(Hdf5File, TruncationAndForeignFilesAreRefused) {
  const auto path = temporary("truncated.h5");
  write_sample(path);
  const auto size = std::filesystem::file_size(path);
  for (const auto length : {size - 1, size / 2, uintmax_t{40}, uintmax_t{0}}) {
    std::filesystem::resize_file(path, length);
    EXPECT_NE(error_of([&] { Hdf5File::open(path); }).find(path.string()), std::string::npos) << length;
  }
  std::ofstream(path) << "not HDF5";
  EXPECT_NE(error_of([&] { Hdf5File::open(path); }).find("expected an HDF5 file"), std::string::npos);
  EXPECT_NE(error_of([] { Hdf5File::open("/nowhere/x.h5"); }).find("no such file"), std::string::npos);
}

// Runs in a process of its own. Gives it a disk of `kilobytes` that only it sees, writes more to it, then
// shows that the library still works. Exit codes: 0 right, 1 wrong, 77 no such disk can be made here.
void fill_a_small_disk(int kilobytes, size_t floats) {
  const auto folder = temporary("disk");
  std::filesystem::create_directories(folder);
  if ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
      mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", folder.c_str(), "tmpfs", 0, fmt::format("size={}k", kilobytes).c_str()) != 0)
    std::exit(77);
  const auto path = folder / "full.h5";
  const std::vector<float> values(floats, 1.0f);
  const std::string error = error_of([&] {
    Hdf5File file = Hdf5File::create(path);
    for (int i = 0; i < 64; ++i) file.write(fmt::format("d{}", i), std::span<const float>(values));
    file.close();
  });
  std::filesystem::remove(path);
  write_sample(path);
  std::exit(error.find(path.string()) == 0 && error.find("No space left") != std::string::npos ? 0 : 1);
}

bool exited_well_or_cannot(int status) {
  return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
}

TEST(Hdf5File, FullDiskIsAnErrorAndNothingStaysBehind) {
  for (const int kilobytes : {16, 64})
    for (const size_t floats : {300, 5000, 1000000})
      EXPECT_EXIT(fill_a_small_disk(kilobytes, floats), exited_well_or_cannot, "") << floats;
}

TEST(Hdf5File, FileSizeLimitIsAnErrorAndNotACrash) {
  const auto write_past_limit = [](size_t floats, rlim_t limit_bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{limit_bytes, limit_bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto path = temporary("limited.h5");
    const std::string error = error_of([&] {
      Hdf5File file = Hdf5File::create(path);
      file.write("d", std::span<const float>(std::vector<float>(floats)));
      file.close();
    });
    std::exit(error.find("File too large") == std::string::npos ? 1 : 0);
  };
  for (const size_t floats : {1000, 1000000})
    EXPECT_EXIT(write_past_limit(floats, 900), testing::ExitedWithCode(0), "") << floats;
}

}  // namespace
}  // namespace fern
