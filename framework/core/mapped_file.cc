#include "framework/core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace fern {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno(fmt::format("cannot open {}", path.string()));
  struct stat status {};
  void* data = MAP_FAILED;
  if (::fstat(fd, &status) == 0)
    data = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, fd, 0);
  const int code = errno;
  ::close(fd);
  errno = code;
  if (data == MAP_FAILED) fail_errno(fmt::format("cannot map {} into memory", path.string()));
  data_ = static_cast<const std::byte*>(data);
  bytes_ = static_cast<uint64_t>(status.st_size);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), bytes_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void MappedFile::forget_pages() const { madvise(const_cast<std::byte*>(data_), bytes_, MADV_DONTNEED); }

}  // namespace fern
