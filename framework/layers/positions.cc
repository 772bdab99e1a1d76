#include "framework/layers/positions.h"

#include "framework/data/context_share.h"
#include "framework/ops/rotary.h"

namespace fern {

SeenKeys Positions::seen(int64_t rotation, const Tensor& kv_SR) const {
  const auto row = [&](const Tensor& key_CT) {
    return key_CT.rows(rotation, rotation + 1).reshape({key_CT.dim(1)});
  };
  return {kv_SR, row(first_key_CT), row(end_key_CT)};
}

Positions allocate_positions(Arena& arena, const ModelConfig& config, const ContextAxis& context,
                             int64_t tokens, const Positions* shared) {
  Positions positions = {.position_T = arena.allocate(DType::kI32, {tokens}),
                         .first_key_CT = arena.allocate(DType::kI32, {context.size(), tokens}),
                         .end_key_CT = arena.allocate(DType::kI32, {context.size(), tokens}),
                         .cos_PK = {},
                         .sin_PK = {}};
  if (shared != nullptr) {
    positions.cos_PK = shared->cos_PK;
    positions.sin_PK = shared->sin_PK;
    return positions;
  }
  const Shape table = {config.context, config.head_size() / 2};
  positions.cos_PK = arena.allocate(wide_of(config.dtype), table);
  positions.sin_PK = arena.allocate(wide_of(config.dtype), table);
  if (!arena.is_measuring()) rotary_tables(positions.cos_PK, positions.sin_PK, config.rope_theta);
  return positions;
}

void set_positions(const Positions& positions, std::span<const int32_t> document_start_T, int64_t sequence,
                   const ContextAxis& context) {
  const int64_t tokens = std::ssize(document_start_T), room = positions.position_T.dim(0);
  const ContextShare own = {.ranks = context.size(), .rank = context.index(), .context = sequence};
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t start = document_start_T[static_cast<size_t>(t)];
    positions.position_T.as<int32_t>()[t] = static_cast<int32_t>(own.whole_position(t)) - start;
  }
  for (int64_t rotation = 0; rotation < context.size(); ++rotation) {
    const ContextShare keys = {
        .ranks = context.size(), .rank = context.holder_of(rotation), .context = sequence};
    int32_t* const first = positions.first_key_CT.as<int32_t>() + rotation * room;
    int32_t* const end = positions.end_key_CT.as<int32_t>() + rotation * room;
    for (int64_t t = 0; t < tokens; ++t) {
      first[t] = static_cast<int32_t>(keys.rows_before(document_start_T[static_cast<size_t>(t)]));
      end[t] = static_cast<int32_t>(keys.rows_before(own.whole_position(t) + 1));
    }
  }
}

}  // namespace fern
