#include "framework/layers/block.h"

#include <algorithm>

#include "framework/ops/rotary.h"

namespace fern {

Positions allocate_positions(Arena& arena, const ModelConfig& config, int64_t tokens) {
  const Shape table = {config.context, config.head_size() / 2};
  const Positions positions = {arena.allocate(DType::kI32, {tokens}),
                               arena.allocate(wide_of(config.dtype), table),
                               arena.allocate(wide_of(config.dtype), table)};
  if (!arena.is_measuring()) rotary_tables(positions.cos_PK, positions.sin_PK, config.rope_theta);
  return positions;
}

BlockScratch allocate_block_scratch(Arena& arena, const ModelConfig& config, int64_t tokens) {
  BlockScratch scratch;
  scratch.n_TD = arena.allocate(config.dtype, {tokens, config.hidden});
  const Tensor wide = arena.allocate(config.dtype, {tokens, std::max(config.ffn, qkv_size(config))});
  const auto columns = [&](int64_t size) { return Tensor(wide.data(), config.dtype, {tokens, size}); };
  scratch.h_TF = columns(config.ffn);
  scratch.dqkv_TE = columns(qkv_size(config));
  scratch.dhidden_TD = columns(config.hidden);
  scratch.delta_HT = arena.allocate(wide_of(config.dtype), {config.heads, tokens});
  return scratch;
}

BlockScratch BlockScratch::first(int64_t tokens) const {
  return {
      n_TD.rows(0, tokens), h_TF.rows(0, tokens), dqkv_TE.rows(0, tokens), dhidden_TD.rows(0, tokens), {}};
}

}  // namespace fern
