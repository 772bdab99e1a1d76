// Files that must survive a crash or not exist: the few system calls behind "write aside, sync, rename".
#pragma once

#include <filesystem>

namespace fern {

// Returns when the bytes of a file, or the names in a folder, are on disk. Errors: it cannot be opened or
// synced, with the system's reason.
void sync_to_disk(const std::filesystem::path& path);

// Renames `from` (a file or folder already synced) to `to` in the same file system and syncs the folder that
// holds it: afterwards `to` is the whole of it, also after a power cut. A file there is replaced. Errors: as
// rename(2), naming both.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace fern
