#include "framework/sparsity/methods/global_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/framework/sparsity/random_pattern.h"
#include "tests/framework/sparsity/topology_run.h"

namespace fern::testing {
namespace {

// By sorting all blocks: the largest of each weight first, then by size, then the earlier weight.
std::vector<int64_t> sorted_choice(std::span<const WeightView> views, int64_t count) {
  struct Block {
    bool is_largest;
    float size;
    size_t weight;
  };
  std::vector<Block> blocks;
  for (size_t i = 0; i < views.size(); ++i) {
    const auto elements = static_cast<size_t>(views[i].pattern.block().elements());
    const size_t first = blocks.size();
    for (size_t v = 0; v < views[i].values.size(); v += elements) {
      float size = 0;
      for (const float value : views[i].values.subspan(v, elements)) size += std::abs(value);
      blocks.push_back({false, size, i});
    }
    const auto largest = std::max_element(blocks.begin() + static_cast<std::ptrdiff_t>(first), blocks.end(),
                                          [](const Block& a, const Block& b) { return a.size < b.size; });
    if (largest != blocks.end()) largest->is_largest = true;
  }
  std::ranges::stable_sort(blocks, [](const Block& a, const Block& b) {
    return a.is_largest != b.is_largest ? a.is_largest : a.size > b.size;
  });
  std::vector<int64_t> counts(views.size());
  for (int64_t i = 0; i < count; ++i) ++counts[blocks[static_cast<size_t>(i)].weight];
  return counts;
}

// With ties, with blocks, with a weight that is empty and one that is large.
TEST(GlobalChoice, EqualsSortingAllBlocks) {
  for (const int64_t side : {1, 4})
    for (const uint64_t different : {3, 100000}) {
      const BlockShape block = {side, side};
      const std::vector<Pattern> patterns = {random_pattern(8 * side, 12 * side, block, 0.5, 1),
                                             Pattern(2 * side, 4 * side, block, {0, 0, 0}, {}),
                                             Pattern::full(5 * side, 7 * side, block),
                                             random_pattern(40 * side, 20 * side, block, 0.3, 3)};
      std::vector<std::vector<float>> values;
      std::vector<WeightView> views;
      int64_t blocks = 0;
      for (size_t i = 0; i < patterns.size(); ++i) {
        values.push_back(random_numbers(patterns[i].nonzeros(), 10 + i, different));
        blocks += patterns[i].blocks();
      }
      for (size_t i = 0; i < patterns.size(); ++i) views.push_back({patterns[i], values[i]});
      int64_t least = 0;  // one of each weight that has any
      for (const Pattern& pattern : patterns) least += pattern.blocks() > 0;
      for (const int64_t count : {least, least + 1, blocks / 10, blocks / 2, blocks - 1, blocks})
        EXPECT_EQ(globally_largest(views, count), sorted_choice(views, count))
            << count << " of " << blocks << ", side " << side << ", " << different << " different values";
    }
}

}  // namespace
}  // namespace fern::testing
