// Sums one process's shards, one after another, in the order of the tree.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"
#include "framework/train/tree_sum.h"

namespace fern {

// The gradient buffer is filled shard by shard; sums that wait for a sibling are kept aside, in as few
// buffers as the tree needs: log2 of the shards here, when these make one complete subtree.
class ShardSum {
 public:
  // Sums shards [first, last) of S in `gradients` (f32, flat; borrowed). Takes the waiting buffers, each as
  // big, from `arena`. REQUIRES 0 <= first < last <= shards.
  ShardSum(Tensor gradients, int64_t first, int64_t last, int64_t shards, Arena& arena);
  // Goes on with a gradient buffer of at most as many elements as the first had, between two steps.
  void set_gradients(const Tensor& gradients);
  int64_t shards() const { return last_ - first_; }

  // Zeroes the gradients for the next shard, by giving their pages back (arena.h) where it `releases`. The
  // one after the last is the first of the next step.
  void begin_shard(bool releases = false);
  // Whether the shard under way is the last of the step.
  bool in_last_shard() const { return next_ + 1 == last_; }
  // In the last shard: the gradients from element `begin` to the end are complete before the shard is, and
  // are taken in now. REQUIRES: none of them is added to before the next begin_shard().
  void take_from(int64_t begin);
  // Takes in what was added to the gradients since begin_shard(). After the last shard the last node is in
  // the gradients and the others in their buffers. Errors: more shards than there are.
  void end_shard();
  // Errors: shards of this step are missing.
  void expect_complete() const;

  // What is left when complete: the fewest nodes that cover the shards, and where each one's sum is.
  std::span<const TreeNode> nodes() const { return cover_; }
  // At least as long as the gradients.
  std::span<float> values(size_t node) const;

 private:
  void take(int64_t first, int64_t last, float* aside);

  int64_t first_, last_, next_;
  int64_t taken_from_ = 0;             // of the gradients of the shard under way
  size_t waiting_now_ = 0, join_ = 0;  // sums aside when it began, and how many of the newest it joins
  Tensor gradients_;
  std::vector<Tensor> waiting_;
  TreeStack stack_;
  std::vector<TreeNode> cover_;
};

}  // namespace fern
