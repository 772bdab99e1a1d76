#include "launch/loaded_model.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "framework/checkpoint/expert_file.h"
#include "framework/checkpoint/layout.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/model/config_json.h"

namespace fern {

namespace fs = std::filesystem;

bool holds_checkpoints(const fs::path& folder) {
  if (!fs::is_directory(folder)) return false;
  const fs::directory_iterator entries(folder);
  return std::any_of(begin(entries), end(entries),
                     [](const fs::path& entry) { return step_of_checkpoint(entry).has_value(); });
}

fs::path find_checkpoint(const fs::path& run_or_checkpoint) {
  if (fs::exists(run_or_checkpoint / "manifest.json")) return run_or_checkpoint;
  const fs::path folder =
      holds_checkpoints(run_or_checkpoint) ? run_or_checkpoint : run_or_checkpoint / "checkpoints";
  if (!fs::is_directory(folder))
    fail_usage(
        "{}: expected a run folder (with checkpoints/ in it), a checkpoint (with manifest.json in it), or a "
        "folder of fern import, prune or densify (with step-NNNNNN/ in it)",
        run_or_checkpoint.string());
  const auto newest = newest_valid_checkpoint(folder, [](const fs::path& path, const std::string& reason) {
    spdlog::warn("checkpoint {} is not used: {}", path.string(), reason);
  });
  if (!newest) fail_usage("{}: no valid checkpoint in it yet; fern train saves them", folder.string());
  return *newest;
}

std::unique_ptr<LoadedModel> load_model(const fs::path& run_or_checkpoint) {
  const fs::path checkpoint = find_checkpoint(run_or_checkpoint);
  Manifest manifest = read_manifest(checkpoint);
  Transformer model(model_config_from_json(manifest.model));
  model.parameters().set_patterns(read_patterns(checkpoint, manifest, model.parameters()));
  Arena arena = sized_arena("parameters", [&](Arena& a) {
    model.parameters().allocate(a, DType::kF32);
    model.allocate_packed_weights(a);
  });
  load_checkpoint(checkpoint, manifest, model.parameters(), {}, {});
  if (const ExpertMemory experts = read_experts(checkpoint, manifest); !experts.empty())
    model.routing().restore(experts);
  Tokenizer tokenizer(checkpoint / kTokenizerFile);
  expect(tokenizer.sha256() == manifest.tokenizer_sha256,
         "{}: its tokenizer.model is not the one that its manifest names; restore the checkpoint from a copy",
         checkpoint.string());
  return std::make_unique<LoadedModel>(
      LoadedModel{checkpoint, std::move(manifest), std::move(arena), std::move(model), std::move(tokenizer)});
}

}  // namespace fern
