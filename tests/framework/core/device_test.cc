#include "framework/core/device.h"

#include <gtest/gtest.h>

#include "framework/core/arena.h"

namespace fern {
namespace {

TEST(CudaDevice, ArenaTakesDeviceMemory) {
  if (cuda_device_count() == 0)
    GTEST_SKIP() << "no CUDA device answers here, or this build has no CUDA back end";
  Arena arena("device", 1 << 20, Device::kCuda);
  const Tensor tensor = arena.allocate(DType::kF32, {256});
  EXPECT_NE(tensor.data(), nullptr);
  EXPECT_EQ(tensor.device(), Device::kCuda);
}

TEST(CudaDevice, AskingForMoreThanThereIsFails) {
  EXPECT_ANY_THROW(Arena("too much", size_t{1} << 50, Device::kCuda));
}

}  // namespace
}  // namespace fern
