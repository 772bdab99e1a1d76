#include "launch/run_lock.h"

#include "framework/core/files.h"

namespace fern {

namespace {

std::filesystem::path lock_file_in(const std::filesystem::path& run) {
  create_folders(run);
  return run / ".lock";
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& run)
    : lock_(lock_file_in(run),
            run.string() +
                ": another fern train is at work in this run folder; wait for it, stop it, "
                "or name another with --out") {}

}  // namespace fern
