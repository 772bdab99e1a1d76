// Requests to stop: SIGTERM, SIGINT and SIGUSR1 ask a run to save and end.
#pragma once

#include <atomic>

namespace fern {

// Catches the signals for as long as it lives. A second SIGINT ends the process at once, for a user who will
// not wait. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  const std::atomic<bool>& requested() const;
};

}  // namespace fern
