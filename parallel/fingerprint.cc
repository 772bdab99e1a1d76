#include "parallel/fingerprint.h"

#include <fmt/format.h>

namespace fern {

namespace {

// One round of SplitMix64 (Steele, Lea and Flood 2014, figure 15).
uint64_t mixed(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

std::string_view name_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kNone:
      return "no collective";
    case CollectiveKind::kBarrier:
      return "barrier";
    case CollectiveKind::kSum:
      return "all_reduce_sum";
    case CollectiveKind::kAllGather:
      return "all_gather";
    case CollectiveKind::kBroadcast:
      return "broadcast";
    case CollectiveKind::kExchange:
      return "exchange";
  }
  return "unknown";
}

std::string_view text_of(Axis axis) {
  switch (axis) {
    case Axis::kWorld:
      return "";
    case Axis::kData:
      return " of the data axis";
    case Axis::kTensor:
      return " of the tensor axis";
    case Axis::kContext:
      return " of the context axis";
    case Axis::kExpert:
      return " of the expert axis";
    case Axis::kReplica:
      return " of those that hold the same experts";
    case Axis::kEvenLink:
    case Axis::kOddLink:
      return " between two stages";
    case Axis::kWrapLink:
      return " between the last stage and the first";
  }
  return "";
}

std::string text_of(Cargo cargo, int32_t index) {
  switch (cargo) {
    case Cargo::kGradients:
      return fmt::format("gradient bucket {}", index);
    case Cargo::kActivations:
      return fmt::format("the activations of pass {}", index);
    case Cargo::kActivationGradients:
      return fmt::format("the activations' gradient of pass {}", index);
    case Cargo::kEmbedding:
      return "the embedding's values";
    case Cargo::kValues:
      return fmt::format("the values of parameter {} and those after it", index);
    case Cargo::kSummands:
      return fmt::format("piece {} of a sum", index);
    case Cargo::kPattern:
      return "the pattern of a weight";
    case Cargo::kKeysValues:
      return "keys and values";
    case Cargo::kKeysValuesGradients:
      return "the gradient of keys and values";
    case Cargo::kRows:
      return "the rows of tokens to their experts";
    case Cargo::kRowsBack:
      return "the rows of experts to their tokens";
    case Cargo::kTensor:
      return fmt::format("tensor {} of the checkpoint", index);
  }
  return "unknown";
}

std::string layers_text(const Fingerprint& f) {
  if (f.first_layer < 0) return "";
  if (f.first_layer == f.last_layer) return fmt::format(", layer {}", f.first_layer);
  return fmt::format(", layers {} to {}", f.first_layer, f.last_layer);
}

}  // namespace

uint64_t chained(uint64_t chain, const Fingerprint& next) {
  for (const uint64_t part : {static_cast<uint64_t>(next.kind), static_cast<uint64_t>(next.cargo),
                              static_cast<uint64_t>(next.bytes), static_cast<uint64_t>(next.where.step),
                              static_cast<uint64_t>(static_cast<int64_t>(next.index))})
    chain = mixed(chain ^ part);
  return chain;
}

std::string text_of(const Position& position) {
  std::string text =
      position.step > 0 ? fmt::format("step {}, ", position.step) : std::string("before the first step, ");
  text += text_of(position.activity);
  if (position.layer >= 0) text += fmt::format(", layer {}", position.layer);
  return text;
}

std::string text_of(const Fingerprint& f) {
  if (f.kind == CollectiveKind::kNone) return "no collective yet";
  if (f.kind == CollectiveKind::kExchange)
    return fmt::format("exchange of {}{} of {} bytes (number {} on lane {}{}, {})", text_of(f.cargo, f.index),
                       layers_text(f), f.bytes, f.sequence, lane_of(f.stream), text_of(axis_of(f.stream)),
                       text_of(f.where));
  return fmt::format("{} of {} bytes (collective {}{}, {})", name_of(f.kind), f.bytes, f.sequence,
                     text_of(axis_of(f.stream)), text_of(f.where));
}

}  // namespace fern
