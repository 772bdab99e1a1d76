#include "framework/core/arena.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace fern
