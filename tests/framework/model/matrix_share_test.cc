#include "framework/model/matrix_share.h"

#include <gtest/gtest.h>

#include "framework/sparsity/for_each_weight.h"
#include "tests/framework/sparsity/expect_usage.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

Parameter whole_parameter(int64_t rows, int64_t columns) {
  return {.name = "w", .shape = {rows, columns}, .nonzeros = rows * columns};
}

struct Case {
  int64_t rows, columns;
  BlockShape block;
  int dimension;
  int64_t ranks;
};

// Shares may be uneven, and rows or whole shares empty of weights.
const std::vector<Case> kCases = {{12, 10, {}, 0, 2},    {13, 10, {}, 0, 3},     {12, 11, {}, 1, 2},
                                  {7, 13, {}, 1, 4},     {16, 24, {4, 4}, 0, 2}, {16, 24, {4, 4}, 1, 3},
                                  {16, 24, {4, 8}, 1, 3}};

template <typename Check>
void for_each_case(const Check& check) {
  for (const Case& each : kCases)
    for (const double density : {0.0, 0.1, 0.5, 1.0}) {
      SCOPED_TRACE(::testing::Message() << each.rows << " x " << each.columns << ", dimension "
                                        << each.dimension << ", density " << density);
      check(shares_of(whole_parameter(each.rows, each.columns), each.dimension, each.ranks),
            testing::random_pattern(each.rows, each.columns, each.block, density, 5), each.dimension);
    }
}

TEST(MatrixShare, SharesJoinToTheWhole) {
  for_each_case([](const std::vector<Parameter>& shares, const Pattern& whole, int dimension) {
    std::vector<Pattern> patterns;
    int64_t size = 0;
    for (const Parameter& share : shares) {
      patterns.push_back(share_of(whole, share));
      EXPECT_EQ(patterns.back().rows(), share.shape[0]);
      EXPECT_EQ(patterns.back().columns(), share.shape[1]);
      EXPECT_EQ(share.place.begin, size);
      size += share.shape[dimension];
    }
    EXPECT_EQ(joined(patterns, dimension), whole);
  });
}

// The value of a weight is its own wherever it lies: here, its position in the whole matrix.
TEST(MatrixShare, ValuesGoWithTheirWeights) {
  for_each_case([](const std::vector<Parameter>& shares, const Pattern& whole, int) {
    std::vector<int64_t> values(static_cast<size_t>(whole.nonzeros()), -1), put = values;
    for_each_weight(whole, 0, whole.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
      values[static_cast<size_t>(value)] = row * whole.columns() + column;
    });
    for (const Parameter& share : shares) {
      const Pattern pattern = share_of(whole, share);
      const SharePlace place(share);
      std::vector<int64_t> own(static_cast<size_t>(pattern.nonzeros()), -1);
      take_share<int64_t>(own, values, share, whole);
      for_each_weight(pattern, 0, pattern.block_rows(), [&](int64_t row, int64_t column, int64_t value) {
        EXPECT_EQ(own[static_cast<size_t>(value)], place.in_whole(row, column));
      });
      put_share<int64_t>(put, own, share, whole);
    }
    EXPECT_EQ(put, values);
  });
}

TEST(MatrixShare, EveryBlockIsInOneShare) {
  for (const Case& each : kCases) {
    const std::vector<Parameter> shares =
        shares_of(whole_parameter(each.rows, each.columns), each.dimension, each.ranks);
    const auto blocks = static_cast<uint64_t>(each.rows * each.columns / each.block.elements());
    for (uint64_t position = 0; position < blocks; ++position) {
      int holders = 0;
      for (const Parameter& share : shares) {
        const SharePlace place(share, each.block);
        const std::optional<uint64_t> here = place.in_share(position);
        holders += here ? 1 : 0;
        if (here) {
          EXPECT_EQ(place.in_whole(*here), position);
        }
      }
      EXPECT_EQ(holders, 1) << position;
    }
  }
}

TEST(MatrixShare, WhatIsNotSharedIsItsOwnWhole) {
  const Parameter parameter = whole_parameter(12, 10);
  const Pattern pattern = testing::random_pattern(12, 10, {}, 0.3, 5);
  EXPECT_EQ(share_of(pattern, parameter), pattern);
  EXPECT_EQ(SharePlace(parameter).in_share(57), 57u);
}

TEST(MatrixShare, ACutThroughBlocksIsRefusedWithBlocksThatAreNotCut) {
  for (const int dimension : {0, 1}) {
    const Parameter share = shares_of(whole_parameter(24, 24), dimension, 2)[1];
    testing::expect_usage(
        [&] {
          share_of(Pattern::full(24, 24, {8, 8}), share);
        },
        "blocks of 1, 2, 3, 4, 6, 12 are not cut");
  }
}

// The first of uneven shares names no blocks that the second would cut.
TEST(MatrixShare, BlocksThatAreNotCutAreCutByNoOtherShare) {
  const Parameter share = shares_of(whole_parameter(15, 24), 0, 2)[0];
  testing::expect_usage([&] { share_of(Pattern::full(15, 24, {3, 3}), share); }, "blocks of 1 are not cut");
}

}  // namespace
}  // namespace fern
