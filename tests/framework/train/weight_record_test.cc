#include "framework/train/weight_record.h"

#include <gtest/gtest.h>

#include "framework/core/error.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

TEST(WeightRecord, ComesBackFromItsWords) {
  const SparseWeight weight = {"w", 48, 64, {4, 4}};
  WeightRecord record{.pattern = testing::random_pattern(48, 64, {4, 4}, 0.3, 1)};
  record.generation.assign(static_cast<size_t>(record.pattern.nonzeros()), 0);
  record.generation.back() = 0xFFFF;
  record.scores = {0, 1, UINT64_MAX, uint64_t{7} << 40};
  record.ever_active = {uint64_t{1} << 63, 5};
  EXPECT_EQ(record_of(weight, words_of(record)), record);
}

TEST(WeightRecord, AMatrixThatIsStillDenseHasNoPattern) {
  const WeightRecord record{.ever_active = {3}};
  EXPECT_EQ(record_of({"w", 48, 64}, words_of(record)), record);
}

TEST(WeightRecord, WordsThatEndTooEarlyAreRefused) {
  std::vector<uint32_t> words = words_of({.scores = {1, 2}});
  words.pop_back();
  EXPECT_THROW(record_of({"w", 48, 64}, words), Error);
}

}  // namespace
}  // namespace fern
