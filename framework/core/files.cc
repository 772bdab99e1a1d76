#include "framework/core/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "framework/core/error.h"

namespace fern {

void sync_to_disk(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno(fmt::format("cannot open {} to sync it", path.string()));
  // Some network file systems cannot sync a folder and say EINVAL: there is nothing more to do for it.
  const bool synced = ::fsync(fd) == 0 || errno == EINVAL;
  const int code = errno;
  ::close(fd);
  errno = code;
  if (!synced) fail_errno(fmt::format("cannot sync {} to disk", path.string()));
}

void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    fail_errno(fmt::format("cannot rename {} to {}", from.string(), to.string()));
  const std::filesystem::path parent = to.parent_path();
  sync_to_disk(parent.empty() ? std::filesystem::path(".") : parent);
}

}  // namespace fern
