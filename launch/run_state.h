// The folder of a run: whether this recipe may continue what is there, and from where.
#pragma once

#include <filesystem>
#include <optional>

#include "parallel/communicator.h"
#include "recipes/recipe.h"

namespace fern {

// Errors (kBadUsage): the recipe kept in the folder computes something else; the keys that differ, with both
// values.
void expect_continues(const std::filesystem::path& folder, const Recipe& recipe);
// Makes the folder, or checks that the recipe in it (recipe.toml) computes the same as `recipe`. All ranks
// call it. Errors (kBadUsage): the keys that differ, with both values; (kFailed): the folder cannot be
// written.
void claim_run_folder(const std::filesystem::path& folder, const Recipe& recipe, Communicator& communicator);
// Leaves the resolved recipe there, once nothing refuses it any more. All ranks call it; rank 0 writes.
void keep_recipe(const std::filesystem::path& folder, const Recipe& recipe, Communicator& communicator);

// The newest valid checkpoint, as rank 0 finds it, on all ranks. Rank 0 logs why newer ones were refused.
std::optional<std::filesystem::path> find_checkpoint(const std::filesystem::path& folder,
                                                     Communicator& communicator);

}  // namespace fern
