// One `fern train` at a time in a run folder: two would write over each other's metrics and checkpoints.
#pragma once

#include <filesystem>

namespace fern {

// Holds RUN/.lock while it lives; the system lets go of it when the process ends, however it ends.
class RunLock {
 public:
  // Makes the folder if need be. Errors: another process holds it; the folder cannot be made or written.
  explicit RunLock(const std::filesystem::path& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace fern
