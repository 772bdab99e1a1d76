// Where the positions of a pass stand. T are this rank's, C ranks share each sequence.
#pragma once

#include <cstdint>
#include <span>

#include "framework/core/arena.h"
#include "framework/core/tensor.h"
#include "framework/layers/context_axis.h"
#include "framework/model/config.h"
#include "framework/ops/attention.h"

namespace fern {

struct Positions {
  Tensor position_T;  // i32, in its document
  // i32, by rotation of the ring: of the rows of the rank whose keys and values are here then, those that
  // each position sees (SeenKeys).
  Tensor first_key_CT, end_key_CT;
  Tensor cos_PK, sin_PK;  // rotary tables of all positions

  SeenKeys seen(int64_t rotation, const Tensor& kv_SR) const;
};

// With the tables of `shared`, where they are there already.
Positions allocate_positions(Arena& arena, const ModelConfig& config, const ContextAxis& context,
                             int64_t tokens, const Positions* shared = nullptr);
// document_start_T as in a MicroBatch cut for this rank; `sequence` is the length of a whole sequence. Of
// fewer positions than there is room for, the first are set.
void set_positions(const Positions& positions, std::span<const int32_t> document_start_T, int64_t sequence,
                   const ContextAxis& context);

}  // namespace fern
