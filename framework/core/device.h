// Where memory lives and where work runs. A back end that is not built is a file of the same functions that
// say so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "framework/core/background.h"
#include "framework/core/pulse.h"

namespace fern {

enum class Device : uint8_t { kCpu, kCuda };

constexpr std::string_view name_of(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

// CUDA devices this process can use; 0 when the back end is not built or no driver answers.
int cuda_device_count();

// Device memory, 256-byte aligned. Errors: kFailed with the size asked for and the driver's reason.
void* cuda_allocate(size_t bytes);
void cuda_free(void* data) noexcept;

class Profile;

// The stream of work an op is queued on. On the CPU work is done when the call returns. A stream may carry a
// profile (framework/core/profile.h) that its ops are timed in, a pulse that says where it is, and a
// background that goes on between ops; all are borrowed.
class Stream {
 public:
  explicit Stream(Device device = Device::kCpu) : device_(device) {}
  Device device() const { return device_; }
  Profile* profile() const { return profile_; }
  void set_profile(Profile* profile) { profile_ = profile; }
  void set_pulse(Pulse* pulse) { pulse_ = pulse; }
  void set_background(Background* background) { background_ = background; }
  // Between ops.
  void beat() const {
    if (pulse_ != nullptr) pulse_->beat();
    if (background_ != nullptr) background_->go_on();
  }
  void begin_step(int64_t step) const {
    if (pulse_ != nullptr) pulse_->begin_step(step);
  }
  void enter(Activity activity, int64_t layer = -1) const {
    if (pulse_ != nullptr) pulse_->enter(activity, static_cast<int32_t>(layer));
  }

 private:
  Device device_;
  Profile* profile_ = nullptr;
  Pulse* pulse_ = nullptr;
  Background* background_ = nullptr;
};

}  // namespace fern
