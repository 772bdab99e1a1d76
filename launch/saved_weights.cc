#include "launch/saved_weights.h"

#include <fmt/format.h>

#include "framework/checkpoint/layout.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

constexpr const char* kRunRecipe = "recipe.toml";
constexpr const char* kRunCheckpoints = "checkpoints";

// The checkpoint that `folder` lies in; "" where there is none.
fs::path checkpoint_around(const fs::path& folder) {
  for (fs::path at = folder.parent_path(); at.has_relative_path(); at = at.parent_path())
    if (fs::exists(at / kManifestFile) && fs::exists(at / kWeightsFile)) return at;
  return {};
}

// A folder beside the run or the weights that a checkpoint is of.
fs::path beside(fs::path owner) {
  if (step_of_checkpoint(owner)) owner = owner.parent_path();
  if (owner.filename() == kRunCheckpoints) owner = owner.parent_path();
  return owner += "-weights";
}

[[noreturn]] void refuse(const fs::path& out, const std::string& reason, const fs::path& owner) {
  fail_usage("--out {}: {}; expected a folder for these weights alone, such as {}", out.string(), reason,
             beside(owner).string());
}

}  // namespace

void expect_weights_folder(const fs::path& out) {
  fs::path folder = fs::weakly_canonical(fs::absolute(out));
  if (!folder.has_filename()) folder = folder.parent_path();  // it ended in a slash
  const fs::path parent = folder.parent_path();
  if (fs::exists(folder) && !fs::is_directory(folder)) refuse(out, "it is a file", folder);
  if (fs::exists(folder / kRunRecipe) || fs::is_directory(folder / kRunCheckpoints))
    refuse(out, "it is a run folder, whose own checkpoints would no longer be found", folder);
  if (folder.filename() == kRunCheckpoints && fs::exists(parent / kRunRecipe))
    refuse(out,
           fmt::format("it holds the checkpoints of the run {}, which would go on from these weights",
                       parent.string()),
           parent);
  if (fs::exists(folder / kManifestFile))
    refuse(out, "it is a checkpoint, which has files of its own", folder);
  if (const fs::path around = checkpoint_around(folder); !around.empty())
    refuse(out, fmt::format("it lies in the checkpoint {}, which has files of its own", around.string()),
           around);
}

std::unique_ptr<LoadedModel> load_source(const fs::path& run_or_checkpoint, const fs::path& out) {
  expect_weights_folder(out);
  const fs::path source = find_checkpoint(run_or_checkpoint);
  const fs::path checkpoint = out / checkpoint_name(read_manifest(source).step);
  if (fs::exists(checkpoint))
    fail_usage("--out {}: {} is there already; name a new folder", out.string(), checkpoint.string());
  return load_model(source);
}

Manifest save_weights(const fs::path& out, const LoadedModel& source, const Parameters& parameters) {
  const fs::path checkpoint = out / checkpoint_name(source.manifest.step);
  CheckpointContents contents{.parameters = parameters,
                              .first_moment = {},
                              .second_moment = {},
                              .manifest = source.manifest,
                              .ledger = load_ledger(source.checkpoint, source.manifest),
                              .tokenizer_model = source.checkpoint / kTokenizerFile};
  contents.experts = source.model.routing().memory();
  save_checkpoint(out, contents);
  Manifest saved = read_manifest(checkpoint);
  fmt::print("{} to {}\nweights_hash {}\n", source.checkpoint.string(), checkpoint.string(),
             saved.weights_hash);
  return saved;
}

}  // namespace fern
