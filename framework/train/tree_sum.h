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
  // shard where the top ends, or after.
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
// What nodes come to when they are joined as far as they go.
struct JoinedNodes {
  std::vector<Join> joins;      // in an order that respects the tree
  std::vector<TreeNode> nodes;  // that are left: one, the root, where the nodes covered 0..S-1
  std::vector<size_t> holders;  // of each, the source that holds its sum then; ascending, each at or after it
};
// REQUIRES: no two nodes have a shard in common. In any order, and with gaps.
JoinedNodes join(std::span<const TreeNode> nodes, int64_t shards);

// Does the additions in `sources`, each of `elements` values, and puts what is left into `out`, node by node.
// `out[i]` may be source i, or any that is read by no node after i.
void sum_nodes(std::span<float* const> out, std::span<float* const> sources, int64_t elements,
               const JoinedNodes& joined);

// a += b.
void add_to(std::span<float> a, const float* b);

}  // namespace fern
