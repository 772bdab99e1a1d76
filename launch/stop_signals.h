// Requests to stop: SIGTERM, SIGINT and SIGUSR1 ask a run to save and end.
#pragma once

#include <atomic>
#include <csignal>
#include <thread>

namespace fern {

// Catches the signals from its making on; when it is gone they are ignored, since a process that saved is
// about to end. A second SIGINT ends the process at once, for a user who will not wait. One at a time; made
// before the first parallel region, on the thread that starts them.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  const std::atomic<bool>& requested() const;

 private:
  std::jthread receiver_;
  sigset_t mask_before_{};
};

}  // namespace fern
