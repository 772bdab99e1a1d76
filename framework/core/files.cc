#include "framework/core/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

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

void write_text_durably(const std::filesystem::path& path, std::string_view text) {
  const std::filesystem::path aside = path.string() + ".tmp";
  std::ofstream file(aside, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file) {
    const int code = errno;
    std::error_code ignored;
    std::filesystem::remove(aside, ignored);
    errno = code;
    fail_errno(fmt::format("cannot write {}: is the disk full or the folder read-only?", path.string()));
  }
  sync_to_disk(aside);
  rename_durably(aside, path);
}

void copy_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::ifstream file(from, std::ios::binary);
  if (!file) fail_errno(fmt::format("cannot read {}", from.string()));
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  write_text_durably(to, bytes);
}

void create_folders(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  expect(!error, "cannot make the folder {}: {}", folder.string(), error.message());
}

void remove_tree(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  expect(!error, "cannot remove {}: {}", path.string(), error.message());
}

}  // namespace fern
