#include "framework/core/profile.h"

#include <algorithm>

namespace fern {

namespace {

constexpr size_t kUsualDepth = 16, kUsualOps = 256;

}  // namespace

Profile::Profile(int64_t steps, size_t most_events) : wanted_steps_(steps) {
  open_.reserve(kUsualDepth);
  totals_.reserve(kUsualOps);
  events_.reserve(most_events);
}

void Profile::begin_step(int64_t step) {
  step_ = step;
  if (begun_ <= wanted_steps_ + 1) ++begun_;
}

int64_t Profile::steps() const { return std::clamp<int64_t>(begun_ - 1, 0, wanted_steps_); }

bool Profile::begin(std::string_view name, Kind kind, const OpWork& work) {
  if (begun_ > wanted_steps_ + 1) return false;
  open_.push_back({.event = {.name = name, .work = work, .step = step_}, .kind = kind});
  open_.back().event.begin = Clock::now();
  return true;
}

void Profile::end() {
  Open& open = open_.back();
  open.event.end = Clock::now();
  const double elapsed_s = std::chrono::duration<double>(open.event.end - open.event.begin).count();
  const bool is_outermost = open_.size() == 1;
  if (!is_outermost) open_[open_.size() - 2].nested_s += elapsed_s;
  if (begun_ > 1) {
    Total& total = total_of(open);
    ++total.calls;
    total.own_s += elapsed_s - open.nested_s;
    total.work.flops += open.event.work.flops;
    total.work.bytes += open.event.work.bytes;
    if (is_outermost) total_s_ += elapsed_s;
  }
  if (events_.size() < events_.capacity())
    events_.push_back(open.event);
  else
    ++dropped_;
  open_.pop_back();
}

Profile::Total& Profile::total_of(const Open& open) {
  const OpWork& work = open.event.work;
  const auto found = std::ranges::find_if(totals_, [&](const Total& total) {
    return total.name == open.event.name && total.work.rows == work.rows &&
           total.work.columns == work.columns;
  });
  if (found != totals_.end()) return *found;
  totals_.push_back({.name = open.event.name,
                     .work = {.rows = work.rows, .columns = work.columns},
                     .is_span = open.kind == Kind::kSpan});
  return totals_.back();
}

}  // namespace fern
