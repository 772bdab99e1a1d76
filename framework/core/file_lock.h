// One process at a time: a file that is locked while someone is at work.
#pragma once

#include <filesystem>
#include <string>

namespace fern {

// Holds `path` while it lives; the system lets go of it when the process ends, however it ends. The empty
// file stays, since removing it would let two processes hold two files of one name.
class FileLock {
 public:
  // Errors: `busy` when another process holds it; it cannot be written. On file systems that know no locks it
  // holds nothing.
  FileLock(const std::filesystem::path& path, const std::string& busy);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_ = -1;
};

// DIR/.NAME.lock, for work on DIR/NAME: that folder may come and go by renaming.
std::filesystem::path lock_file_beside(const std::filesystem::path& folder);

}  // namespace fern
