#include "parallel/rank_tensor_axis.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/mpi_main.h"

namespace fern {
namespace {

using testing_support::world;

struct RankAxis {
  RankAxis()
      : arena(sized_arena("axis", [&](Arena& a) { axis = std::make_unique<RankTensorAxis>(world(), a); })) {}
  std::unique_ptr<RankTensorAxis> axis;
  Arena arena;
  Stream stream;
};

// What rank `rank` has at place i: sums of it depend on their order.
float value(int64_t rank, int64_t i) { return 1.0F / static_cast<float>(1 + i % 1009 + 31 * rank); }

template <typename T>
std::vector<T> values(int64_t rank, int64_t count) {
  std::vector<T> all(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) all[static_cast<size_t>(i)] = narrow<T>(value(rank, i));
  return all;
}

template <typename T>
std::vector<T> sums(int64_t ranks, int64_t count) {
  std::vector<T> all;
  for (int64_t i = 0; i < count; ++i) {
    Wide<T> sum = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) sum += widen(narrow<T>(value(rank, i)));
    all.push_back(narrow<T>(sum));
  }
  return all;
}

template <typename T>
void expect_sums(int64_t rows, int64_t columns) {
  RankAxis test;
  std::vector<T> mine = values<T>(test.axis->index(), rows * columns);
  const Tensor whole = Tensor::of(mine.data(), {rows, columns});
  test.axis->all_reduce(whole, test.stream);
  const std::vector<T> expected = sums<T>(test.axis->size(), rows * columns);
  for (size_t i = 0; i < mine.size(); ++i) ASSERT_EQ(widen(mine[i]), widen(expected[i])) << i;
}

TEST(RankTensorAxis, SumsInTheOrderOfRanksOnAllRanks) {
  expect_sums<float>(1, 2);      // not a row for each rank
  expect_sums<float>(37, 6);     // uneven
  expect_sums<float>(701, 768);  // many pieces, uneven
  expect_sums<BF16>(701, 768);
}

TEST(RankTensorAxis, ScattersToMemoryOfItsOwn) {
  RankAxis test;
  std::vector<float> mine = values<float>(test.axis->index(), 13 * 4);
  const Tensor whole = Tensor::of(mine.data(), {13, 4});
  const Slice rows = test.axis->own(13);
  std::vector<float> own(static_cast<size_t>(rows.elements() * 4));
  test.axis->reduce_scatter(Tensor::of(own.data(), {rows.elements(), 4}), whole, test.stream);
  const std::vector<float> expected = sums<float>(test.axis->size(), 13 * 4);
  EXPECT_EQ(own, std::vector<float>(expected.begin() + rows.begin * 4, expected.begin() + rows.end * 4));
}

TEST(RankTensorAxis, GathersEveryRanksRowsToTheBit) {
  RankAxis test;
  std::vector<double> all(static_cast<size_t>(test.axis->size() * 5), -1.0);
  const Tensor whole = Tensor::of(all.data(), {test.axis->size(), 5});
  for (double& v : test.axis->own_rows(whole).values<double>())
    v = 0.1 + static_cast<double>(test.axis->index());
  test.axis->all_gather(whole, test.stream);
  for (int64_t rank = 0; rank < test.axis->size(); ++rank)
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_EQ(all[static_cast<size_t>(rank * 5 + i)], 0.1 + static_cast<double>(rank));
}

TEST(RankTensorAxis, CountsWhatItSends) {
  RankAxis test;
  const int64_t ranks = test.axis->size(), rows = 8 * ranks;
  std::vector<float> mine = values<float>(0, rows * 4);
  test.axis->all_reduce(Tensor::of(mine.data(), {rows, 4}), test.stream);
  EXPECT_EQ(test.axis->sent_bytes(), 2 * (ranks - 1) * 8 * 4 * 4);
}

}  // namespace
}  // namespace fern
