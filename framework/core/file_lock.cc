#include "framework/core/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "framework/core/error.h"

namespace fern {

FileLock::FileLock(const std::filesystem::path& path, const std::string& busy) {
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail_errno(fmt::format("cannot write {}", path.string()));
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(file_);
  fail("{}", busy);
}

FileLock::~FileLock() { ::close(file_); }

std::filesystem::path lock_file_beside(const std::filesystem::path& folder) {
  return folder.parent_path() / fmt::format(".{}.lock", folder.filename().string());
}

}  // namespace fern
