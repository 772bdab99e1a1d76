// Times of the parts of a step. Private to the trainer's source files.
#pragma once

#include <chrono>
#include <string_view>

#include "framework/core/device.h"

namespace fern {

// Adds the time from its making to its end to `total_s`, and to the profile if there is one.
template <typename ProfileTimer>
class Timer {
 public:
  Timer(double& total_s, const Stream& stream, std::string_view name)
      : total_s_(total_s), profiled_(stream, name) {}
  ~Timer() { total_s_ += std::chrono::duration<double>(Clock::now() - begin_).count(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& total_s_;
  ProfileTimer profiled_;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace fern
