// A folder of checkpoints: their names, the newest valid one, and which ones stay.
#include <algorithm>
#include <charconv>
#include <vector>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/layout.h"
#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kTemporaryPrefix = ".step-", kTemporarySuffix = ".tmp";

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    paths.push_back(it->path());
  if (error && error != std::errc::no_such_file_or_directory)
    fail("cannot list {}: {}", folder.string(), error.message());
  return paths;
}

// Newest first.
std::vector<fs::path> checkpoints(const fs::path& folder) {
  std::vector<fs::path> found = entries(folder);
  std::erase_if(found, [](const fs::path& path) { return !step_of_checkpoint(path); });
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    return *step_of_checkpoint(a) > *step_of_checkpoint(b);
  });
  return found;
}

// Hidden first, so that a crash half-way leaves no broken checkpoint under a good name.
void remove_checkpoint(const fs::path& checkpoint) {
  const fs::path hidden = checkpoint.parent_path() / temporary_name(*step_of_checkpoint(checkpoint));
  remove_tree(hidden);
  std::error_code error;
  fs::rename(checkpoint, hidden, error);
  if (error) fail("cannot remove {}: {}", checkpoint.string(), error.message());
  remove_tree(hidden);
}

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("{}{:06}", kPrefix, step); }
std::string temporary_name(int64_t step) {
  return fmt::format("{}{:06}{}", kTemporaryPrefix, step, kTemporarySuffix);
}

std::optional<int64_t> step_of_checkpoint(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [at, code] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (code != std::errc() || at != end || step < 0) return std::nullopt;
  return step;
}

bool is_temporary(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return name.starts_with(kTemporaryPrefix) && name.ends_with(kTemporarySuffix);
}

void prune_checkpoints(const fs::path& folder, int64_t keep) {
  for (const fs::path& entry : entries(folder))
    if (is_temporary(entry)) remove_tree(entry);
  if (keep <= 0) return;
  const std::vector<fs::path> found = checkpoints(folder);
  for (size_t i = static_cast<size_t>(keep); i < found.size(); ++i) remove_checkpoint(found[i]);
}

std::optional<fs::path> newest_valid_checkpoint(
    const fs::path& folder, const std::function<void(const fs::path&, const std::string& reason)>& refused) {
  for (const fs::path& checkpoint : checkpoints(folder)) {
    try {
      verify_checkpoint(checkpoint);
      return checkpoint;
    } catch (const Error& error) {
      refused(checkpoint, error.what());
    }
  }
  return std::nullopt;
}

}  // namespace fern
