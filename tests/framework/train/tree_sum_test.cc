#include "framework/train/tree_sum.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "framework/core/error.h"
#include "framework/core/rng.h"
#include "framework/train/shard_sum.h"

namespace fern {
namespace {

// Values whose sums depend on the order: magnitudes from 2^-20 to 2^20.
float shard_value(int64_t shard, int64_t element) {
  const uint64_t at = static_cast<uint64_t>(element);
  const uint32_t key = static_cast<uint32_t>(shard);
  const double exponent = 40.0 * random_uniform(1, Purpose::kTest, at, 2 * key) - 20.0;
  return static_cast<float>(random_normal(2, Purpose::kTest, at, 2 * key + 1) * std::exp2(exponent));
}

int64_t nodes_at(int level, int64_t shards) { return ((shards - 1) >> level) + 1; }

// The definition of the tree, as it is written in tree_sum.h.
float reference(int level, int64_t index, int64_t shards, int64_t element) {
  if (level == 0) return shard_value(index, element);
  const float left = reference(level - 1, 2 * index, shards, element);
  if (2 * index + 1 >= nodes_at(level - 1, shards)) return left;
  return left + reference(level - 1, 2 * index + 1, shards, element);
}

float reference_root(int64_t shards, int64_t element) {
  int level = 0;
  while (nodes_at(level, shards) > 1) ++level;
  return reference(level, 0, shards, element);
}

void expect_same_bits(float expected, float got, int64_t shards, int64_t element) {
  ASSERT_EQ(std::bit_cast<uint32_t>(expected), std::bit_cast<uint32_t>(got))
      << shards << " shards, element " << element << ": " << expected << " and " << got;
}

// Sums shards [first, last) of S over two steps, so that what the first left behind would show.
ShardSum summed(Tensor gradients, int64_t first, int64_t last, int64_t shards, Arena& arena) {
  ShardSum sum(gradients, first, last, shards, arena);
  for (int step = 0; step < 2; ++step)
    for (int64_t shard = first; shard < last; ++shard) {
      sum.begin_shard();
      for (int64_t i = 0; i < gradients.elements(); ++i)
        gradients.as<float>()[i] += shard_value(shard, i) * (step == 0 ? 3.0f : 1.0f);
      sum.end_shard();
    }
  sum.expect_complete();
  return sum;
}

TEST(TreeSum, ShardsMeetInTheTreeOfTheDefinition) {
  for (int64_t shards = 1; shards <= 17; ++shards) {
    std::vector<float> gradients(300);
    const Tensor view = Tensor::of(gradients.data(), {300});
    const Arena arena = sized_arena("sums", [&](Arena& a) { ShardSum(view, 0, shards, shards, a); });
    Arena buffers("sums", arena.used_bytes());
    const ShardSum sum = summed(view, 0, shards, shards, buffers);
    ASSERT_EQ(sum.nodes().size(), 1u);
    for (int64_t i = 0; i < 300; ++i)
      expect_same_bits(reference_root(shards, i), gradients[static_cast<size_t>(i)], shards, i);
  }
}

TEST(TreeSum, PartsOfTheShardsMeetInTheSameRoot) {
  constexpr int64_t kElements = 3000;
  for (int64_t shards : {1, 2, 3, 4, 6, 8, 9, 12, 15, 24})
    for (int64_t parts = 1; parts <= shards; ++parts) {
      if (shards % parts != 0) continue;
      std::vector<std::vector<float>> held;
      std::vector<TreeNode> nodes;
      for (int64_t part = 0; part < parts; ++part) {
        std::vector<float> gradients(kElements);
        Arena buffers("sums", 8u * kElements * sizeof(float));
        const int64_t share = shards / parts;
        const ShardSum sum = summed(Tensor::of(gradients.data(), {kElements}), part * share,
                                    (part + 1) * share, shards, buffers);
        for (size_t n = 0; n < sum.nodes().size(); ++n) {
          nodes.push_back(sum.nodes()[n]);
          held.emplace_back(sum.values(n).begin(), sum.values(n).end());
        }
      }
      std::vector<float*> sources;
      for (auto& values : held) sources.push_back(values.data());
      std::vector<float> root(kElements);
      float* const out = root.data();
      sum_nodes({&out, 1}, sources, kElements, join(nodes, shards));
      for (int64_t i = 0; i < kElements; ++i)
        expect_same_bits(reference_root(shards, i), root[static_cast<size_t>(i)], shards, i);
    }
}

// What is left after rounds that take so many shards each, as many from each of `runs` parts of them; every
// sum that waits is where one was kept before.
std::vector<float> summed_in_rounds(int64_t shards, int64_t in_a_round, int64_t runs, int64_t elements) {
  const auto some = static_cast<size_t>(elements);
  std::vector<std::vector<float>> kept(static_cast<size_t>(shards), std::vector<float>(some));
  std::vector<TreeNode> nodes;
  for (int64_t round = 0; round < shards / in_a_round; ++round) {
    std::vector<std::vector<float>> arrived;
    std::vector<float*> sources, out;
    for (size_t i = 0; i < nodes.size(); ++i) sources.push_back(kept[i].data());
    for (int64_t i = 0; i < in_a_round; ++i) {
      const int64_t of_run = in_a_round / runs;
      const int64_t shard = i / of_run * (shards / runs) + round * of_run + i % of_run;
      nodes.push_back({0, shard});
      std::vector<float>& values = arrived.emplace_back();
      for (int64_t element = 0; element < elements; ++element) values.push_back(shard_value(shard, element));
    }
    for (auto& values : arrived) sources.push_back(values.data());
    const JoinedNodes joined = join(nodes, shards);
    for (size_t i = 0; i < joined.nodes.size(); ++i) out.push_back(kept[i].data());
    sum_nodes(out, sources, elements, joined);
    nodes = joined.nodes;
  }
  EXPECT_EQ(nodes.size(), 1u);
  return kept[0];
}

TEST(TreeSum, RoundsOfShardsMeetInTheSameRoot) {
  constexpr int64_t kElements = 200;
  for (int64_t shards : {1, 2, 3, 4, 6, 8, 9, 12, 15, 24})
    for (int64_t in_a_round = 1; in_a_round <= shards; ++in_a_round)
      for (int64_t runs = 1; runs <= in_a_round; ++runs) {
        if (shards % in_a_round != 0 || in_a_round % runs != 0) continue;
        const std::vector<float> root = summed_in_rounds(shards, in_a_round, runs, kElements);
        for (int64_t i = 0; i < kElements; ++i)
          expect_same_bits(reference_root(shards, i), root[static_cast<size_t>(i)], shards, i);
      }
}

TEST(TreeSum, CompleteSubtreeIsOneNode) {
  EXPECT_EQ(cover(8, 12, 16), (std::vector<TreeNode>{{2, 2}}));
  EXPECT_EQ(cover(4, 6, 6), (std::vector<TreeNode>{{2, 1}}));
  EXPECT_EQ(cover(3, 6, 12), (std::vector<TreeNode>{{0, 3}, {1, 2}}));
}

TEST(TreeSum, KeepsOnlyTheBuffersTheTreeNeeds) {
  EXPECT_EQ(most_waiting(5, 6, 8), 0);
  EXPECT_EQ(most_waiting(0, 2, 2), 1);
  EXPECT_EQ(most_waiting(8, 16, 16), 3);
  EXPECT_EQ(most_waiting(0, 16, 16), 4);
}

TEST(TreeSum, MissingShardIsRefused) {
  std::vector<float> gradients(4);
  Arena buffers("sums", 1024);
  ShardSum sum(Tensor::of(gradients.data(), {4}), 0, 2, 2, buffers);
  sum.begin_shard();
  sum.end_shard();
  EXPECT_THROW(sum.expect_complete(), Error);
}

}  // namespace
}  // namespace fern
