#include "framework/layers/ring_attention.h"

#include <algorithm>

namespace fern {

namespace {

// Copies the last values of each row; as many as the shorter rows have.
void copy_last(const Tensor& to, const Tensor& from) {
  const int64_t to_size = to.dim(1), from_size = from.dim(1), size = std::min(to_size, from_size);
  with_float_type("ring_attention", to.dtype(), [&]<typename T>() {
    T* out = to.as<T>() + to_size - size;
    const T* in = from.as<T>() + from_size - size;
    const int64_t rows = to.dim(0);
#pragma omp parallel for
    for (int64_t row = 0; row < rows; ++row) std::copy_n(in + row * from_size, size, out + row * to_size);
  });
}

// The one of two that is here after so many rotations.
const Tensor& here(const std::array<Tensor, 2>& blocks, int64_t rotation) {
  return blocks[static_cast<size_t>(rotation % 2)];
}

}  // namespace

RingScratch allocate_ring(Arena& arena, DType dtype, int64_t tokens, int64_t kv_row_size) {
  RingScratch ring;
  for (auto* blocks : {&ring.kv_TR, &ring.dkv_TR})
    for (Tensor& block : *blocks) block = arena.allocate(dtype, {tokens, kv_row_size});
  return ring;
}

int64_t ring_forward_bytes(int64_t ranks, int64_t block_bytes) { return (ranks - 1) * block_bytes; }

// Keys and values go as in forward; their gradients once more, home.
int64_t ring_backward_bytes(int64_t ranks, int64_t block_bytes) {
  return ranks > 1 ? (2 * ranks - 1) * block_bytes : 0;
}

void RingAttention::begin(RingCargo cargo, const std::array<Tensor, 2>& blocks, int64_t rotation) const {
  axis_.begin_rotation(cargo, here(blocks, rotation), here(blocks, rotation + 1));
}

void RingAttention::forward(Tensor o_TM, Tensor lse_HT, Tensor other_o_TM, Tensor other_lse_HT,
                            const Tensor& qkv_TE, const Positions& positions, const RingScratch& scratch,
                            Stream& stream) const {
  if (axis_.size() > 1) copy_last(scratch.kv_TR[0], qkv_TE);
  for (int64_t i = 0; i < axis_.size(); ++i) {
    if (!is_last(i)) begin(RingCargo::kKeysValues, scratch.kv_TR, i);
    if (i == 0) {
      attention_forward(o_TM, lse_HT, qkv_TE, positions.seen(i, qkv_TE), heads_, kv_heads_, stream);
    } else {
      attention_forward(other_o_TM, other_lse_HT, qkv_TE, positions.seen(i, here(scratch.kv_TR, i)), heads_,
                        kv_heads_, stream);
      attention_merge(o_TM, lse_HT, other_o_TM, other_lse_HT, stream);
    }
    if (!is_last(i)) axis_.finish_rotation(RingCargo::kKeysValues);
  }
}

void RingAttention::backward(Tensor dqkv_TE, Tensor delta_HT, const Tensor& do_TM, const Tensor& o_TM,
                             const Tensor& lse_HT, const Tensor& qkv_TE, const Positions& positions,
                             const RingScratch& scratch, Stream& stream) const {
  if (axis_.size() == 1)
    return attention_backward({.dqkv_TE = dqkv_TE, .dkv_SR = dqkv_TE, .delta_HT = delta_HT}, do_TM, o_TM,
                              lse_HT, qkv_TE, positions.seen(0, qkv_TE), heads_, kv_heads_, stream);
  copy_last(scratch.kv_TR[0], qkv_TE);
  for (int64_t i = 0; i < axis_.size(); ++i) {
    if (!is_last(i)) begin(RingCargo::kKeysValues, scratch.kv_TR, i);
    if (i > 0) axis_.finish_rotation(RingCargo::kGradients);
    attention_backward(
        {.dqkv_TE = dqkv_TE, .dkv_SR = here(scratch.dkv_TR, i), .delta_HT = delta_HT, .adds = i > 0}, do_TM,
        o_TM, lse_HT, qkv_TE, positions.seen(i, here(scratch.kv_TR, i)), heads_, kv_heads_, stream);
    begin(RingCargo::kGradients, scratch.dkv_TR, i);
    if (!is_last(i)) axis_.finish_rotation(RingCargo::kKeysValues);
  }
  axis_.finish_rotation(RingCargo::kGradients);
  copy_last(dqkv_TE, here(scratch.dkv_TR, axis_.size()));
}

}  // namespace fern
