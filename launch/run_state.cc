#include "launch/run_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "framework/checkpoint/checkpoint.h"
#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

// The same text on all ranks: rank 0's.
std::string broadcast_text(std::string text, Communicator& communicator) {
  uint64_t size = text.size();
  communicator.broadcast(std::as_writable_bytes(std::span(&size, 1)), 0);
  text.resize(size);
  communicator.broadcast(std::as_writable_bytes(std::span(text)), 0);
  return text;
}

}  // namespace

void expect_continues(const fs::path& folder, const Recipe& recipe) {
  const fs::path kept_file = folder / "recipe.toml";
  const std::vector<std::string> changes = changes_of_the_result(read_recipe(kept_file, {}), recipe);
  if (!changes.empty())
    fail_usage(
        "{}: this run was started under another recipe: {}. Continue it under its own, or give this one "
        "another "
        "folder with --out",
        kept_file.string(), fmt::join(changes, "; "));
}

void claim_run_folder(const fs::path& folder, const Recipe& recipe, Communicator& communicator) {
  if (communicator.rank() == 0) {
    if (fs::exists(folder / "recipe.toml")) expect_continues(folder, recipe);
    create_folders(folder / "checkpoints");
  }
  communicator.barrier();
}

void keep_recipe(const fs::path& folder, const Recipe& recipe, Communicator& communicator) {
  if (communicator.rank() == 0) write_text_durably(folder / "recipe.toml", to_toml(recipe));
}

std::optional<fs::path> find_checkpoint(const fs::path& folder, Communicator& communicator) {
  std::string found;
  if (communicator.rank() == 0) {
    const auto newest =
        newest_valid_checkpoint(folder / "checkpoints", [](const fs::path& path, const std::string& reason) {
          spdlog::warn("{} is not used: {}", path.string(), reason);
        });
    if (newest) found = newest->string();
  }
  found = broadcast_text(found, communicator);
  if (found.empty()) return std::nullopt;
  return fs::path(found);
}

}  // namespace fern
