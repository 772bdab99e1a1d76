// What is kept of each collective, so that ranks can see that they make the same ones in the same order.
#pragma once

#include <cstdint>
#include <string>

#include "framework/core/pulse.h"
#include "parallel/communicator.h"

namespace fern {

enum class CollectiveKind : uint8_t { kNone, kBarrier, kSum, kAllGather, kBroadcast, kExchange };

// Collectives come in streams, each in an order of its own: of each axis the blocking ones, and each lane of
// exchanges.
inline constexpr int kStreamsOfAxis = 1 + kExchangeLanes;
inline constexpr int kStreams = kAxes * kStreamsOfAxis;
inline constexpr int kBlockingStream = 0;  // of the world
constexpr int blocking_stream(Axis axis) { return static_cast<int>(axis) * kStreamsOfAxis; }
constexpr int stream_of_lane(int lane, Axis axis = Axis::kWorld) { return blocking_stream(axis) + 1 + lane; }
constexpr Axis axis_of(int stream) { return static_cast<Axis>(stream / kStreamsOfAxis); }
constexpr int lane_of(int stream) { return stream % kStreamsOfAxis - 1; }  // -1: blocking

struct Fingerprint {
  uint64_t sequence = 0;  // in its stream, from 1; 0: none yet
  uint64_t chain = 0;     // hash of this one and of all before it in the stream
  int64_t bytes = 0;
  int32_t stream = 0, index = -1, first_layer = -1, last_layer = -1;
  Position where = {};  // of the rank when it called
  CollectiveKind kind = CollectiveKind::kNone;
  Cargo cargo = Cargo::kGradients;
};

// The chain after `next`, which is as it will be but for its chain. Equal calls on all ranks give equal
// chains; where a rank was when it called does not count, but for the step.
uint64_t chained(uint64_t chain, const Fingerprint& next);

// "step 12, backward pass, layer 3"
std::string text_of(const Position& position);
// "all_gather of 4096 bytes (collective 57, step 12)", "exchange of gradient bucket 2, layers 1 to 3, of ..."
std::string text_of(const Fingerprint& fingerprint);

}  // namespace fern
