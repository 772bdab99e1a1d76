#include "framework/sparsity/pattern.h"

#include <gtest/gtest.h>

#include <functional>

#include "framework/core/error.h"
#include "tests/framework/sparsity/random_pattern.h"
#include "tests/framework/sparsity/value_origins.h"

namespace fern::testing {
namespace {

// . x x
// . . .
// x . x
Pattern small() { return {3, 3, {}, {0, 2, 2, 4}, {1, 2, 0, 2}}; }

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Pattern, CountsItsWeights) {
  EXPECT_EQ(small().nonzeros(), 4);
  EXPECT_DOUBLE_EQ(small().density(), 4.0 / 9);
  EXPECT_EQ(Pattern::full(8, 12, {4, 4}).blocks(), 6);
  EXPECT_EQ(Pattern::full(8, 12, {4, 4}).nonzeros(), 96);
}

TEST(Pattern, SliceAndStackAreInverse) {
  const Pattern whole = random_pattern(24, 40, {4, 8}, 0.4, 1);
  const std::vector<Pattern> parts = {whole.slice(0, 8), whole.slice(8, 12), whole.slice(12, 24)};
  EXPECT_EQ(Pattern::stacked(parts), whole);
  EXPECT_EQ(parts[0].nonzeros() + parts[1].nonzeros(), whole.values_before(12));
}

TEST(Pattern, OriginsFollowEachWeight) {
  const Pattern now(3, 3, {}, {0, 2, 3, 4}, {0, 2, 1, 2});
  EXPECT_EQ(value_origins(now, small()), (std::vector<int64_t>{-1, 1, -1, 3}));
}

TEST(Pattern, OriginsMoveWholeBlocks) {
  const Pattern before(2, 6, {2, 2}, {0, 2}, {0, 2}), now(2, 6, {2, 2}, {0, 2}, {1, 2});
  EXPECT_EQ(value_origins(now, before), (std::vector<int64_t>{-1, -1, -1, -1, 4, 5, 6, 7}));
}

TEST(Pattern, ValuesThatStayTogetherMoveAtOnce) {
  const Pattern before(2, 6, {}, {0, 4, 6}, {0, 1, 2, 4, 0, 5}), now(2, 6, {}, {0, 3, 6}, {1, 2, 3, 0, 4, 5});
  std::vector<std::array<int64_t, 3>> moves;
  for_each_move(now, before, [&](ValueMove m) { moves.push_back({m.to, m.from, m.count}); });
  EXPECT_EQ(moves,
            (std::vector<std::array<int64_t, 3>>{{0, 1, 2}, {2, -1, 1}, {3, 4, 1}, {4, -1, 1}, {5, 5, 1}}));
}

TEST(Pattern, ValuesOfADenseMatrixComeRowByRow) {
  const Pattern now(4, 6, {2, 2}, {0, 2, 3}, {0, 1, 2});
  std::vector<int64_t> from;
  for_each_move_from_dense(now, [&](ValueMove m) {
    for (int64_t i = 0; i < m.count; ++i) from.push_back(m.from + i);
  });
  EXPECT_EQ(from, (std::vector<int64_t>{0, 1, 6, 7, 2, 3, 8, 9, 16, 17, 22, 23}));
}

TEST(Pattern, RefusesBlocksThatDoNotDivide) {
  EXPECT_EQ(
      message_of([] {
        Pattern::full(12, 18, {4, 4});
      }),
      "sparsity.block: blocks of 4 x 4 do not divide a weight matrix of 12 x 18; square blocks of 1, 2, 3, 6 "
      "do");
}

TEST(Pattern, RefusesColumnsOutOfOrder) {
  EXPECT_EQ(message_of([] {
              Pattern(2, 4, {}, {0, 1, 3}, {0, 2, 2});
            }),
            "[pattern] row 1 of blocks: expected ascending columns below 4, got 2 after 2");
  EXPECT_EQ(message_of([] {
              Pattern(1, 4, {}, {0, 1}, {4});
            }),
            "[pattern] row 0 of blocks: expected ascending columns below 4, got 4 after -1");
}

TEST(Pattern, RefusesRowsThatDoNotAddUp) {
  EXPECT_EQ(message_of([] {
              Pattern(2, 4, {}, {0, 2, 1}, {0, 1});
            }),
            "[pattern] expected 2 rows of blocks that end at 2, got 2 that end at 1");
}

TEST(Pattern, RefusesTooManyColumns) {
  EXPECT_NE(message_of([] {
              Pattern(1, 70000, {}, {0, 0}, {});
            }).find("at most 65536 columns of blocks, got 70000"),
            std::string::npos);
}

}  // namespace
}  // namespace fern::testing
