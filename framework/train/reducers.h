// The seams through which many processes are reached. The framework owns them, with a one-process version
// each; parallel/ implements them over MPI.
#pragma once

#include <cstdint>
#include <span>

#include "framework/core/tensor.h"
#include "framework/model/parameters.h"
#include "framework/model/slices.h"
#include "framework/model/transformer.h"

namespace fern {

// Sums gradients over the logical shards of a step: shard by shard on each process, and over processes,
// always in the same fixed binary tree over shards 0..S-1 (tree_sum.h), in fp32.
//
//   for each shard i of this process's, in order:
//     reducer.begin_shard()            gradients are zeroed
//     backward of its micro-batches
//       before the last of them: reducer.begin_last_micro_batch(), and during it
//       reducer.add(parameter) as gradients finish
//     reducer.end_shard()
//   reducer.finish()                   the slices() of gradients() now hold the sum over all S shards
class GradReducer : public GradSink {
 public:
  // Shards of each step that this process computes, and which of all S its i-th is: ascending. Where C
  // processes share sequences there are C S of them, S of each process's share.
  virtual int64_t shards() const = 0;
  virtual int64_t shard(int64_t i) const = 0;
  virtual void begin_shard() = 0;
  // The shard's last backward begins: what is reported with add() from now on is added to no more, and may be
  // reduced at once. Where the model is here in several parts, other micro-batches may go backward between
  // the last one's parts. A shard that is not told so is reduced after its end.
  virtual void begin_last_micro_batch() = 0;
  virtual void end_shard() = 0;
  virtual void finish() = 0;
  // The parts of the flat buffers whose summed gradient this process holds after finish() and whose optimizer
  // state it keeps. Whole chunks (kParameterChunk). Everything, without ZeRO.
  virtual Slices slices() const = 0;
  // The parts that this process counts in sums over all parameters (the norm): disjoint over the processes
  // that hold the same, together everything, whole chunks, possibly empty, within slices(). Everything, on
  // one process.
  virtual Slices counted() const = 0;
  // After the optimizer wrote the slices() of values(): makes every process hold all values, where they are
  // not fetched as they are used (model/value_source.h).
  virtual void gather_values() = 0;
  // Makes a flat buffer of which processes hold their slices() alone (moments, say) whole on every process
  // that has these parameters, padding included.
  virtual void gather_everywhere(std::span<float> whole, std::span<const float> slices) = 0;
  // What slices() would be with another layout of the parameters.
  virtual Slices slices_of(const Parameters& parameters) const = 0;
  // Takes up another layout of the parameters (their patterns have changed) between two steps. REQUIRES: the
  // flat buffers are where they were, and not longer.
  virtual void set_layout(const Parameters& parameters) = 0;
  // What this process has sent to others so far, of gradients and of values.
  virtual int64_t sent_bytes() const = 0;
};

// Exact sums of small vectors over processes.
class ScalarReducer {
 public:
  virtual ~ScalarReducer() = default;
  // Element by element, over processes. REQUIRES for exactness: each element is non-zero on at most one
  // process.
  virtual void sum(std::span<double> values) = 0;
  // True on all when true on any: how processes agree to stop.
  virtual bool any(bool value) = 0;
  virtual void barrier() = 0;
};

}  // namespace fern
