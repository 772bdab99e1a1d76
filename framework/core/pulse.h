// How far the thread that trains has come, for whoever watches it: another thread, or another process through
// shared memory. Written by that one thread; a write costs a store.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace fern {

// What the thread is at.
enum class Activity : uint8_t {
  kOutside,  // of training: starting, ending
  kData,
  kForward,
  kBackward,
  kReduce,
  kUpdate,
  kTopology,
  kLog,
  kAgree,
  kSave,
};

constexpr std::string_view text_of(Activity activity) {
  switch (activity) {
    case Activity::kOutside:
      return "outside the steps";
    case Activity::kData:
      return "reading data";
    case Activity::kForward:
      return "forward pass";
    case Activity::kBackward:
      return "backward pass";
    case Activity::kReduce:
      return "gradient sums";
    case Activity::kUpdate:
      return "optimizer update";
    case Activity::kTopology:
      return "topology update";
    case Activity::kLog:
      return "writing metrics";
    case Activity::kAgree:
      return "agreeing whether to stop";
    case Activity::kSave:
      return "saving a checkpoint";
  }
  return "unknown work";
}

// Where the thread is. `step` counts from 1, 0: before the first; `layer` from 0, -1: in no layer.
struct Position {
  int64_t step = 0;
  int32_t layer = -1;
  Activity activity = Activity::kOutside;
};

class Pulse {
 public:
  // Work goes on: called between operations, none of which should take long.
  void beat() { beats_.store(beats_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  void begin_step(int64_t step) { step_.store(step, std::memory_order_relaxed); }
  void enter(Activity activity, int32_t layer = -1) {
    activity_.store(activity, std::memory_order_relaxed);
    layer_.store(layer, std::memory_order_relaxed);
    beat();
  }
  uint64_t beats() const { return beats_.load(std::memory_order_relaxed); }
  // Its parts are each right, though not all of one moment.
  Position position() const {
    return {step_.load(std::memory_order_relaxed), layer_.load(std::memory_order_relaxed),
            activity_.load(std::memory_order_relaxed)};
  }

 private:
  std::atomic<uint64_t> beats_{0};
  std::atomic<int64_t> step_{0};
  std::atomic<int32_t> layer_{-1};
  std::atomic<Activity> activity_{Activity::kOutside};
};

}  // namespace fern
