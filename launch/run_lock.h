// One `fern train` at a time in a run folder: two would write over each other's metrics and checkpoints.
#pragma once

#include <filesystem>

#include "framework/core/file_lock.h"

namespace fern {

// Holds RUN/.lock while it lives.
class RunLock {
 public:
  // Makes the folder if need be. Errors: another process holds it; the folder cannot be made or written.
  explicit RunLock(const std::filesystem::path& run);

 private:
  FileLock lock_;
};

}  // namespace fern
