#include "framework/sparsity/expand.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "framework/core/error.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern::testing {
namespace {

TEST(Expand, WritesZerosWhereNoWeightExistsAndIsUndoneByGather) {
  for (const BlockShape block : {BlockShape{}, BlockShape{4, 2}}) {
    const Pattern pattern = random_pattern(20, 12, block, 0.4, 1);
    std::vector<float> values(static_cast<size_t>(pattern.nonzeros())), back(values.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
    std::vector<float> whole(20 * 12, -1);
    expand(whole, values, pattern);
    EXPECT_EQ(static_cast<int64_t>(whole.size()) - std::ranges::count(whole, 0), pattern.nonzeros());
    gather(back, whole, pattern);
    EXPECT_EQ(back, values);
    gather_add(back, whole, pattern);
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(back[i], 2 * values[i]);
  }
}

TEST(Expand, RefusesAMatrixOfAnotherSize) {
  const Pattern pattern = Pattern::full(3, 4);
  std::vector<float> values(12), whole(13);
  EXPECT_THROW(expand(whole, values, pattern), Error);
}

}  // namespace
}  // namespace fern::testing
