#include "recipes/suggest.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

TEST(Suggest, DistanceCountsSwapsOfNeighboursOnce) {
  EXPECT_EQ(edit_distance("layers", "layers"), 0);
  EXPECT_EQ(edit_distance("layres", "layers"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("", "abc"), 3);
}

TEST(Suggest, SaysNothingWhenNothingIsNear) {
  EXPECT_EQ(nearest("zzzzzz", {"layers", "hidden"}), "");
  EXPECT_EQ(nearest("hiden", {"layers", "hidden"}), "hidden");
}

}  // namespace
}  // namespace fern
