#include "framework/model/slices.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

TEST(Slices, EmptyOnesAreLeftOut) {
  Slices slices(3, 3);
  EXPECT_EQ(slices, Slices());
  slices.add({5, 5});
  slices.add({7, 9});
  EXPECT_EQ(slices, Slices(7, 9));
  EXPECT_EQ(slices.end(), 9);
}

TEST(Slices, OthersAreAddedFurtherOn) {
  Slices slices(2, 4), others(0, 1);
  others.add({5, 8});
  slices.add(others, 10);
  EXPECT_EQ(slices.list(), (std::vector<Slice>{{2, 4}, {10, 11}, {15, 18}}));
  EXPECT_EQ(slices.elements(), 6);
}

TEST(Slices, WhatIsKeptOfARangeLiesOneAfterTheOther) {
  Slices slices(10, 20);
  slices.add({30, 50});
  std::vector<Slice> kept;
  std::vector<int64_t> first;
  const auto note = [&](Slice slice, int64_t at) {
    kept.push_back(slice);
    first.push_back(at);
  };
  slices.for_each_in({15, 35}, note);
  EXPECT_EQ(kept, (std::vector<Slice>{{15, 20}, {30, 35}}));
  EXPECT_EQ(first, (std::vector<int64_t>{5, 10}));
  slices.for_each_in({20, 30}, note);
  EXPECT_EQ(kept.size(), 2u);
}

}  // namespace
}  // namespace fern
