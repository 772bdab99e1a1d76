// A micro-batch: packed sequences laid out as the model takes them.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "framework/data/shard.h"

namespace fern {

// micro_sequences packed sequences of `context` positions each, flattened to T = micro_sequences * context.
// Positions past a sequence's end are padding: token 0, no target, weight 0, each a document of its own.
struct MicroBatch {
  int64_t sequences = 0, context = 0;
  std::vector<int32_t> input_T;   // token at each position
  std::vector<int32_t> target_T;  // the next token of the same document, or -1: no target
  std::vector<int32_t>
      document_start_T;  // position in 0..T-1 where this position's document begins; attention sees
                         // [document_start, t], and its rotary position is t - document_start
  std::vector<float>
      loss_weight_T;                // weight of the position's loss in the batch's loss; 0 where target is -1
  std::vector<int32_t> language_S;  // per packed sequence
  std::vector<int32_t> length_S;    // its positions that are not padding
  int64_t tokens = 0;               // positions that are not padding
  int64_t loss_tokens = 0;          // positions with a target
  int64_t batch_tokens = 0;         // `tokens` of the whole step's batch; 0: not part of a step
};

// Makes `out` a batch of `sequences` sequences of padding only. Its buffers are reused.
void reset(MicroBatch& out, int64_t sequences, int64_t context);

// Places a packed sequence at `slot`. `weight_of` gives the loss weight of each target of a document from how
// many targets the document has. REQUIRES: reset() before; at most `context` tokens; the slot is still
// padding. Errors: a token outside [0, vocabulary), naming `shard`.
void place_sequence(MicroBatch& out, int64_t slot, const PackedSequence& packed, const Shard& shard,
                    const std::function<float(int64_t targets)>& weight_of);

}  // namespace fern
