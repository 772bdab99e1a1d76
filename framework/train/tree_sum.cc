#include "framework/train/tree_sum.h"

#include <algorithm>
#include <numeric>

namespace fern {

int TreeStack::push(TreeNode node) {
  int joined = 0;
  for (;;) {
    const bool is_left = node.index % 2 == 0;
    const bool is_last = (node.index + 1) << node.level >= shards_;
    if (is_left && is_last && node.index > 0) {
      // No sibling: it passes up unchanged.
    } else if (!is_left && !nodes_.empty() && nodes_.back() == TreeNode{node.level, node.index - 1}) {
      nodes_.pop_back();
      ++joined;
    } else {
      break;
    }
    node = {node.level + 1, node.index / 2};
  }
  nodes_.push_back(node);
  return joined;
}

std::vector<TreeNode> cover(int64_t first, int64_t last, int64_t shards) {
  TreeStack stack(shards);
  for (int64_t shard = first; shard < last; ++shard) stack.push({0, shard});
  return {stack.nodes().begin(), stack.nodes().end()};
}

int most_waiting(int64_t first, int64_t last, int64_t shards) {
  TreeStack stack(shards);
  size_t waiting = 0;
  for (int64_t shard = first; shard < last; ++shard) {
    waiting = std::max(waiting, stack.nodes().size());
    stack.push({0, shard});
  }
  return static_cast<int>(waiting);
}

JoinedNodes join(std::span<const TreeNode> nodes, int64_t shards) {
  std::vector<size_t> sources(nodes.size());
  std::iota(sources.begin(), sources.end(), size_t{0});
  std::ranges::sort(sources, {}, [&](size_t source) { return nodes[source].index << nodes[source].level; });
  TreeStack stack(shards);
  std::vector<size_t> holders;
  JoinedNodes result;
  for (const size_t source : sources) {
    holders.push_back(source);
    for (int joined = stack.push(nodes[source]); joined > 0; --joined) {
      const size_t from = holders.back();
      holders.pop_back();
      result.joins.push_back({.into = holders.back(), .from = from});
    }
  }
  std::vector<size_t> order(holders.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t node) { return holders[node]; });
  for (const size_t node : order) {
    result.nodes.push_back(stack.nodes()[node]);
    result.holders.push_back(holders[node]);
  }
  return result;
}

void add_to(std::span<float> a, const float* b) {
  float* sum = a.data();
#pragma omp simd
  for (size_t i = 0; i < a.size(); ++i) sum[i] += b[i];
}

void sum_nodes(std::span<float* const> out, std::span<float* const> sources, int64_t elements,
               const JoinedNodes& joined) {
  // Pieces that stay in the first-level cache while all additions pass over them.
  constexpr int64_t kPiece = 1024;
  const int64_t pieces = (elements + kPiece - 1) / kPiece;
#pragma omp parallel for schedule(static) if (pieces > 16)
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = piece * kPiece;
    const auto count = static_cast<size_t>(std::min(kPiece, elements - begin));
    for (const Join& join : joined.joins)
      add_to({sources[join.into] + begin, count}, sources[join.from] + begin);
    for (size_t i = 0; i < joined.holders.size(); ++i) {
      const float* sum = sources[joined.holders[i]];
      if (out[i] != sum) std::copy_n(sum + begin, count, out[i] + begin);
    }
  }
}

}  // namespace fern
