// Where a process's time goes: what each op took, and the work it did in it.
//
//   Profile profile(/*steps=*/10);
//   stream.set_profile(&profile);
//   profile.begin_step(1);
//   { const OpTimer timer(stream, "rms_norm_forward", {.bytes = 8192}); ... }
//   profile_report.h makes a table and a trace of it
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "framework/core/device.h"

namespace fern {

// What one call of an op asks of the machine. `bytes` counts every tensor once, read or written. `rows` and
// `columns` tell calls of one name apart, where that matters: a product's weight; 0: they do not.
struct OpWork {
  double flops = 0;
  double bytes = 0;
  int64_t rows = 0;
  int64_t columns = 0;
};

// Timers nest, on one thread. Time inside a nested timer is that timer's alone. The first step warms up: it
// is in the trace and not in the totals. Once the first steps have met every op, recording allocates nothing.
class Profile {
 public:
  using Clock = std::chrono::steady_clock;

  struct Event {
    std::string_view name;
    OpWork work;
    int64_t step = 0;
    Clock::time_point begin{}, end{};
  };
  // Of all calls of one name and shape after the warm-up.
  struct Total {
    std::string_view name;
    OpWork work;  // summed flops and bytes
    bool is_span = false;
    int64_t calls = 0;
    double own_s = 0;  // without nested timers
  };
  enum class Kind : uint8_t { kOp, kSpan };

  static constexpr size_t kMostEvents = 1 << 18;  // 20 MB, resident as it fills
  static constexpr int64_t kAllSteps = std::numeric_limits<int64_t>::max() - 1;

  // Records the warm-up and `steps` steps after it, and at most `most_events` events of them one by one.
  explicit Profile(int64_t steps = kAllSteps, size_t most_events = kMostEvents);

  // Begins step number `step`; past the steps asked for, nothing is recorded any more. REQUIRES: no timer is
  // open.
  void begin_step(int64_t step);
  // `name` is borrowed until the profile ends: a literal. begin() is false when nothing is recorded; then
  // end() must not follow.
  bool begin(std::string_view name, Kind kind, const OpWork& work);
  void end();

  int64_t steps() const;                       // after the warm-up
  double total_s() const { return total_s_; }  // of timers that lie in no other, after the warm-up
  const std::vector<Total>& totals() const { return totals_; }  // as they first came
  const std::vector<Event>& events() const { return events_; }  // as they ended
  int64_t dropped() const { return dropped_; }                  // events for which there was no room

 private:
  struct Open {
    Event event;
    Kind kind = Kind::kOp;
    double nested_s = 0;
  };
  Total& total_of(const Open& open);

  int64_t wanted_steps_;
  int64_t begun_ = 0, step_ = 0, dropped_ = 0;
  double total_s_ = 0;
  std::vector<Open> open_;
  std::vector<Total> totals_;
  std::vector<Event> events_;
};

// Times a scope as an op in the stream's profile, and beats its pulse. Without them it costs two branches.
class OpTimer {
 public:
  OpTimer(const Stream& stream, std::string_view name, const OpWork& work = {})
      : OpTimer(stream, name, Profile::Kind::kOp, work) {}
  ~OpTimer() {
    if (profile_ != nullptr) [[unlikely]]
      profile_->end();
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 protected:
  OpTimer(const Stream& stream, std::string_view name, Profile::Kind kind, const OpWork& work) {
    stream.beat();
    if (stream.profile() != nullptr && stream.profile()->begin(name, kind, work)) [[unlikely]]
      profile_ = stream.profile();
  }

 private:
  Profile* profile_ = nullptr;
};

// Times a scope that only groups ops: its own time, outside of them, counts as time in no op.
class SpanTimer : public OpTimer {
 public:
  SpanTimer(const Stream& stream, std::string_view name) : OpTimer(stream, name, Profile::Kind::kSpan, {}) {}
};

}  // namespace fern
