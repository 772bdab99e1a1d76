#include "parallel/rank_context_axis.h"

#include <algorithm>
#include <thread>

#include "framework/layers/ring_attention.h"
#include "parallel/words.h"

namespace fern {

namespace {

int lane_of(RingCargo cargo) { return static_cast<int>(cargo); }

Cargo cargo_of(RingCargo cargo) {
  return cargo == RingCargo::kKeysValues ? Cargo::kKeysValues : Cargo::kKeysValuesGradients;
}

}  // namespace

void RankContextAxis::begin_rotation(RingCargo cargo, const Tensor& out, Tensor in) {
  const int ranks = communicator_.size(), rank = communicator_.rank();
  const Incoming incoming = {(rank + ranks - 1) % ranks, words_of(in)};
  const Outgoing outgoing = {(rank + 1) % ranks, words_of(out)};
  const auto bytes = static_cast<int64_t>(out.bytes());
  communicator_.start_exchange({.lane = lane_of(cargo), .bytes = bytes, .cargo = cargo_of(cargo)},
                               {&incoming, 1}, {&outgoing, 1});
  sent_bytes_ += bytes;
}

// Where ranks are more than the cores, another needs this one.
void RankContextAxis::finish_rotation(RingCargo cargo) {
  for (communicator_.progress(); !communicator_.exchange_done(lane_of(cargo)); communicator_.progress())
    std::this_thread::yield();
}

int64_t context_axis_bytes(const ModelConfig& config, const ModelPart& part, int64_t ranks, int64_t tokens) {
  const int64_t last = std::min(part.last_layer, config.layers), layers = last - part.first_layer;
  const int64_t recomputed = !config.recompute ? 0 : last == config.layers ? layers - 1 : layers;
  const int64_t block_bytes =
      tokens * 2 * config.kv_heads * config.head_size() * static_cast<int64_t>(size_of(config.dtype));
  return (layers + recomputed) * ring_forward_bytes(ranks, block_bytes) +
         layers * ring_backward_bytes(ranks, block_bytes);
}

}  // namespace fern
