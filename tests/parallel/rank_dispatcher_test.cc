#include "parallel/rank_dispatcher.h"

#include <gtest/gtest.h>

#include <vector>

#include "framework/core/rng.h"
#include "tests/support/mpi_main.h"

namespace fern {
namespace {

using testing_support::world;

constexpr int64_t kExperts = 7, kColumns = 6;

// How many rows a rank has for an expert: none for some.
int64_t rows_for(int64_t rank, int64_t expert, int64_t most) {
  return static_cast<int64_t>(random_below(static_cast<uint64_t>(most), 5, Purpose::kTest,
                                           static_cast<uint64_t>(rank * kExperts + expert), 0));
}

// Of the number-th row that a rank has for an expert.
float value(int64_t rank, int64_t expert, int64_t number, int64_t column) {
  return static_cast<float>(((rank * kExperts + expert) * 10000 + number) * kColumns + column);
}

template <typename T>
void append(std::vector<T>& rows, int64_t rank, int64_t expert, int64_t most) {
  for (int64_t number = 0; number < rows_for(rank, expert, most); ++number)
    for (int64_t column = 0; column < kColumns; ++column)
      rows.push_back(narrow<T>(value(rank, expert, number, column)));
}

template <typename T>
void expect_round_trip(int64_t most) {
  RankDispatcher dispatcher(world());
  Stream stream;
  std::vector<int32_t> counts(static_cast<size_t>(dispatcher.size() * kExperts)), first = {0};
  const Slice here = dispatcher.own(kExperts);
  std::vector<int32_t> first_here(static_cast<size_t>(here.elements() + 1), -1);
  std::vector<T> mine, expected;
  for (int64_t e = 0; e < kExperts; ++e) {
    append(mine, dispatcher.index(), e, most);
    first.push_back(static_cast<int32_t>(std::ssize(mine) / kColumns));
  }
  // At an expert: by rank, each rank's in its order.
  for (int64_t e = here.begin; e < here.end; ++e)
    for (int64_t rank = 0; rank < dispatcher.size(); ++rank) append(expected, rank, e, most);
  const Dispatch dispatch = {Tensor::of(counts.data(), {dispatcher.size(), kExperts}),
                             Tensor::of(first_here.data(), {here.elements() + 1})};
  dispatcher.count(dispatch, Tensor::of(first.data(), {kExperts + 1}), stream);
  ASSERT_EQ(dispatch.rows(), std::ssize(expected) / kColumns);
  std::vector<T> arrived(expected.size()), returned(mine.size());
  const auto rows = [](std::vector<T>& all) {
    return Tensor::of(all.data(), {std::ssize(all) / kColumns, kColumns});
  };
  dispatcher.dispatch(rows(arrived), rows(mine), dispatch, stream);
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(widen(arrived[i]), widen(expected[i])) << i;
  dispatcher.collect(rows(returned), rows(arrived), dispatch, stream);
  for (size_t i = 0; i < mine.size(); ++i) ASSERT_EQ(widen(returned[i]), widen(mine[i])) << i;
}

TEST(RankDispatcher, BringsEveryRowToItsExpertAndBack) {
  if (world().size() > kExperts) GTEST_SKIP() << "more ranks than experts";
  expect_round_trip<float>(5);
  expect_round_trip<double>(5);
  expect_round_trip<BF16>(5);
  expect_round_trip<float>(9000);  // in many messages
  expect_round_trip<float>(1);     // no row at all
}

TEST(RankDispatcher, CountsWhatItSends) {
  RankDispatcher dispatcher(world());
  Stream stream;
  const int64_t ranks = dispatcher.size();
  std::vector<int32_t> counts(static_cast<size_t>(ranks * ranks)), first, first_here(2);
  for (int64_t e = 0; e <= ranks; ++e) first.push_back(static_cast<int32_t>(3 * e));
  const Dispatch dispatch = {Tensor::of(counts.data(), {ranks, ranks}), Tensor::of(first_here.data(), {2})};
  dispatcher.count(dispatch, Tensor::of(first.data(), {ranks + 1}), stream);
  EXPECT_EQ(dispatcher.sent_bytes(), (ranks - 1) * ranks * 4);
  std::vector<float> rows(static_cast<size_t>(3 * ranks * kColumns)), here(rows.size());
  const Shape shape = {3 * ranks, kColumns};
  dispatcher.dispatch(Tensor::of(here.data(), shape), Tensor::of(rows.data(), shape), dispatch, stream);
  EXPECT_EQ(dispatcher.sent_bytes(), (ranks - 1) * (ranks * 4 + 3 * kColumns * 4));
}

}  // namespace
}  // namespace fern
