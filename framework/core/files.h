// Files that must survive a crash or not exist: the few system calls behind "write aside, sync, rename".
#pragma once

#include <filesystem>
#include <string_view>

namespace fern {

// Returns when the bytes of a file, or the names in a folder, are on disk. Errors: it cannot be opened or
// synced, with the system's reason.
void sync_to_disk(const std::filesystem::path& path);

// Renames `from` (a file or folder already synced) to `to` in the same file system and syncs the folder that
// holds it: afterwards `to` is the whole of it, also after a power cut. A file there is replaced. Errors: as
// rename(2), naming both.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

// Writes `text` beside `path`, syncs it and renames it to `path`: a reader sees the old file or the whole new
// one. Errors: not writable, disk full (nothing is left beside it).
void write_text_durably(const std::filesystem::path& path, std::string_view text);

// The same with the bytes of another file.
void copy_durably(const std::filesystem::path& from, const std::filesystem::path& to);

// Makes a folder and those above it. Errors: the system's reason, naming the folder.
void create_folders(const std::filesystem::path& folder);

// Removes a file, or a folder with all in it; nothing there is fine. Errors: the system's reason.
void remove_tree(const std::filesystem::path& path);

}  // namespace fern
