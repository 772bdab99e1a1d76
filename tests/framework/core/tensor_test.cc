#include "framework/core/tensor.h"

#include <gtest/gtest.h>

#include <vector>

namespace fern {
namespace {

TEST(Tensor, RowsAndReshapeViewTheSameValues) {
  std::vector<float> data = {0, 1, 2, 3, 4, 5};
  const Tensor tensor = Tensor::of(data.data(), {3, 2});
  EXPECT_EQ(tensor.rows(1, 3).as<float>(), data.data() + 2);
  EXPECT_EQ(tensor.rows(1, 3).shape(), (Shape{2, 2}));
  EXPECT_EQ(tensor.reshape({6}).dim(0), 6);
}

TEST(Tensor, WrongUseSaysWhatWasExpected) {
  std::vector<float> data(6);
  const Tensor tensor = Tensor::of(data.data(), {3, 2});
  EXPECT_THROW(tensor.as<double>(), Error);
  EXPECT_THROW(tensor.reshape({5}), Error);
  EXPECT_THROW(tensor.rows(2, 4), Error);
}

}  // namespace
}  // namespace fern
