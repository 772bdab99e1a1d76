// Attention over the keys and values of all ranks of the context axis (Liu et al. 2023, arXiv:2310.01889,
// section 3): these go round, block by block, while each rank attends to the block that it has. On one rank
// it is plain attention. Results are merged in the order in which blocks come, so they are the same every
// time. Letters as in ops/attention.h; R = 2 G K, the keys and values of a row.
#pragma once

#include <array>
#include <cstdint>

#include "framework/core/arena.h"
#include "framework/layers/context_axis.h"
#include "framework/layers/positions.h"

namespace fern {

// Memory for what comes and what goes: keys and values, and their gradients, in the dtype of activations as
// these are. None on one rank.
struct RingScratch {
  std::array<Tensor, 2> kv_TR, dkv_TR;
};
RingScratch allocate_ring(Arena& arena, DType dtype, int64_t tokens, int64_t kv_row_size);

// What a rank sends in one forward, or one backward, of blocks of `block_bytes`.
int64_t ring_forward_bytes(int64_t ranks, int64_t block_bytes);
int64_t ring_backward_bytes(int64_t ranks, int64_t block_bytes);

class RingAttention {
 public:
  // Borrows the axis.
  RingAttention(ContextAxis& axis, int64_t heads, int64_t kv_heads)
      : axis_(axis), heads_(heads), kv_heads_(kv_heads) {}
  // `other_o_TM` and `other_lse_HT` are scratch.
  void forward(Tensor o_TM, Tensor lse_HT, Tensor other_o_TM, Tensor other_lse_HT, const Tensor& qkv_TE,
               const Positions& positions, const RingScratch& scratch, Stream& stream) const;
  void backward(Tensor dqkv_TE, Tensor delta_HT, const Tensor& do_TM, const Tensor& o_TM,
                const Tensor& lse_HT, const Tensor& qkv_TE, const Positions& positions,
                const RingScratch& scratch, Stream& stream) const;

 private:
  bool is_last(int64_t rotation) const { return rotation + 1 == axis_.size(); }
  // Sends on what is here after so many rotations.
  void begin(RingCargo cargo, const std::array<Tensor, 2>& blocks, int64_t rotation) const;

  ContextAxis& axis_;
  int64_t heads_, kv_heads_;
};

}  // namespace fern
