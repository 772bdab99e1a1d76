// The fixed order of every gradient sum: a binary tree over the logical shards 0..S-1 of a step. Level by
// level, node (level, i) is node (level-1, 2i) plus node (level-1, 2i+1); an odd last node passes up
// unchanged. Who computes which shard therefore never changes a bit of the sum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fern {

// The sum of shards [index << level, min((index + 1) << level, S)).
struct TreeNode {
  int level = 0;
  int64_t index = 0;
  bool operator==(const TreeNode&) const = default;
};

// Nodes waiting for their sibling to the right: a binary counter. Nodes enter in the order of their shards.
class TreeStack {
 public:
  // REQUIRES shards >= 1.
  explicit TreeStack(int64_t shards) : shards_(shards) {}
  // Puts `node` on top and joins what can be joined: while the node below is the top's left sibling, the two
  // become their parent. Returns how many nodes below joined, nearest first. REQUIRES: `node` starts at the
  // shard where the top ends (anywhere, when the stack is empty).
  int push(TreeNode node);
  void clear() { nodes_.clear(); }
  // From the first shard to the last.
  std::span<const TreeNode> nodes() const { return nodes_; }

 private:
  int64_t shards_;
  std::vector<TreeNode> nodes_;
};

// The fewest nodes that cover shards [first, last) of S: what one process can sum by itself.
std::vector<TreeNode> cover(int64_t first, int64_t last, int64_t shards);
// Nodes that wait while shards [first, last) are summed one by one, besides the newest.
int most_waiting(int64_t first, int64_t last, int64_t shards);

// One addition of the tree: sources[into] += sources[from].
struct Join {
  size_t into = 0, from = 0;
};
// The additions that turn `nodes` into the root, in an order that respects the tree; the root is left in
// source 0. REQUIRES: the nodes cover 0..S-1 in order.
std::vector<Join> joins_to_root(std::span<const TreeNode> nodes, int64_t shards);

// out = the root of the tree over `sources`, each of out.size() values, which are used as scratch. `out` may
// be one of the sources.
void sum_to_root(std::span<float> out, std::span<float* const> sources, std::span<const Join> joins);

// a += b.
void add_to(std::span<float> a, const float* b);

}  // namespace fern
