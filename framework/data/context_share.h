// How ranks share the positions of every sequence. Of a sequence in 2 C equal chunks, rank c of C holds
// chunks c and 2 C - 1 - c (Llama Team 2024, "The Llama 3 herd of models", section 3.3.2): a late chunk sees
// as much more as an early one sees less, so that causal attention is the same work on each rank.
//
// A rank's rows are in the order of their positions, so what a position sees of any rank's rows is one range
// of them.
#pragma once

#include <cstdint>

#include "framework/data/micro_batch.h"

namespace fern {

struct ContextShare {
  int64_t ranks = 1, rank = 0;  // C, c
  int64_t context = 0;          // positions of a whole sequence; REQUIRES 2 C to divide it, where C > 1

  int64_t positions() const { return context / ranks; }  // of a sequence that this rank holds
  // Where row t of this rank is among the positions of the whole micro-batch.
  int64_t whole_position(int64_t t) const;
  // This rank's rows of the positions before `position` of the whole micro-batch.
  int64_t rows_before(int64_t position) const;

 private:
  int64_t first_chunk() const { return positions() / 2; }  // its length
  int64_t second_begin() const { return context - rank * first_chunk() - (positions() - first_chunk()); }
};

// This rank's rows of a micro-batch: sequences of share.positions() positions. `out`'s buffers are reused.
// Its document_start_T still counts positions of the whole. REQUIRES: whole.context is share.context.
void cut(MicroBatch& out, const MicroBatch& whole, const ContextShare& share);

}  // namespace fern
