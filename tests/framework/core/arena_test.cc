#include "framework/core/arena.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

namespace fern {
namespace {

TEST(Arena, MeasuringCountsWhatAllocatingTakes) {
  auto build = [](Arena& arena) {
    arena.allocate(DType::kF32, {3});
    return arena.allocate(DType::kF64, {5, 7});
  };
  Arena measure = Arena::measuring("test");
  EXPECT_TRUE(build(measure).empty());
  EXPECT_EQ(measure.used_bytes(), 64u + 320u);
  Arena arena("test", measure.used_bytes());
  const Tensor last = build(arena);
  EXPECT_EQ(arena.used_bytes(), measure.used_bytes());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(last.data()) % 64, 0u);
  for (double value : last.values<double>()) EXPECT_EQ(value, 0.0);
}

TEST(Arena, FullArenaNamesItself) {
  Arena arena("moments", 64);
  arena.allocate(DType::kF32, {16});
  try {
    arena.allocate(DType::kF32, {1});
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("moments"), std::string::npos);
  }
}

constexpr int64_t kPage = 4096 / sizeof(float);

int64_t resident_pages(const Tensor& tensor) {
  std::vector<unsigned char> pages(tensor.bytes() / 4096);
  EXPECT_EQ(mincore(tensor.data(), tensor.bytes(), pages.data()), 0);
  return std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
}

TEST(ReservingArena, HoldsThePagesThatAreWrittenTo) {
  Arena arena = Arena::reserving("test", size_t{1} << 30);
  const Tensor tensor = arena.allocate(DType::kF32, {16 * kPage});
  EXPECT_EQ(resident_pages(tensor), 0);
  std::fill_n(tensor.as<float>() + 2 * kPage, 3 * kPage, 1.0f);
  EXPECT_EQ(resident_pages(tensor), 3);
  release(tensor, 0, 16 * kPage);
  EXPECT_EQ(resident_pages(tensor), 0);
  for (float value : tensor.values<float>()) ASSERT_EQ(value, 0.0f);
}

TEST(Release, LeavesZerosInItsRangeAndAllElseAsItWas) {
  Arena arena("test", 8 * 4096);
  const Tensor tensor = arena.allocate(DType::kF32, {8 * kPage});
  const std::pair<int64_t, int64_t> ranges[] = {
      {0, 0}, {5, 9}, {kPage - 3, kPage + 3}, {7, 4 * kPage + 5}, {3 * kPage, 8 * kPage}, {0, 8 * kPage}};
  for (const auto& [begin, end] : ranges) {
    std::fill_n(tensor.as<float>(), tensor.elements(), 1.0f);
    release(tensor, begin, end);
    for (int64_t i = 0; i < tensor.elements(); ++i)
      ASSERT_EQ(tensor.as<float>()[i], i >= begin && i < end ? 0.0f : 1.0f)
          << i << " of " << begin << ", " << end;
  }
}

}  // namespace
}  // namespace fern
