#include "launch/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

RunLock::RunLock(const std::filesystem::path& run) {
  create_folders(run);
  const std::filesystem::path path = run / ".lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail_errno(fmt::format("cannot write {}", path.string()));
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
    return;  // some file systems know no locks
  ::close(file_);
  fail(
      "{}: another fern train is at work in this run folder; wait for it, stop it, or name another with "
      "--out",
      run.string());
}

RunLock::~RunLock() { ::close(file_); }

}  // namespace fern
