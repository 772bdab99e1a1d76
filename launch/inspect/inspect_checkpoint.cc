#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/core/error.h"
#include "framework/model/config_json.h"
#include "framework/model/transformer.h"
#include "launch/inspect/describe_sparsity.h"
#include "launch/inspect/inspect.h"
#include "launch/loaded_model.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

// Reads the patterns against what the manifest declares of them.
void describe_patterns(nlohmann::ordered_json& described, const fs::path& path, const Manifest& manifest) {
  Transformer model(model_config_from_json(manifest.model));
  model.parameters().set_patterns(read_patterns(path, manifest, model.parameters()));
  expect(model.parameters().elements() == manifest.nonzeros,
         "{}: it declares {} non-zeros in all, but its patterns and dense weights have {}", path.string(),
         manifest.nonzeros, model.parameters().elements());
  describe_sparsity(described, model.parameters());
}

nlohmann::ordered_json describe_checkpoint(const fs::path& path) {
  const Manifest manifest = read_manifest(path);
  verify_checkpoint(path);
  nlohmann::ordered_json described = {{"kind", "checkpoint"},
                                      {"path", path.string()},
                                      {"step", manifest.step},
                                      {"updates", manifest.updates},
                                      {"parameters", manifest.parameters},
                                      {"nonzeros", manifest.nonzeros},
                                      {"weights_hash", manifest.weights_hash},
                                      {"optimizer_hash", nullptr},
                                      {"topology_hash", nullptr},
                                      {"tokenizer_sha256", manifest.tokenizer_sha256},
                                      {"model", manifest.model},
                                      {"verified", true}};
  if (!manifest.sparsity.empty() || !manifest.topology_hash.empty())
    describe_patterns(described, path, manifest);
  if (!manifest.optimizer_hash.empty()) described["optimizer_hash"] = manifest.optimizer_hash;
  return described;
}

// The newest valid one of a folder of checkpoints.
nlohmann::ordered_json describe_newest(const fs::path& folder) {
  const auto newest = newest_valid_checkpoint(folder, [](const fs::path& refused, const std::string& reason) {
    spdlog::warn("{} is not valid: {}", refused.string(), reason);
  });
  expect(newest.has_value(), "{}: no valid checkpoint in it", folder.string());
  return describe_checkpoint(*newest);
}

}  // namespace

Inspector checkpoint_inspector() {
  return {"a checkpoint (step-NNNNNN)",
          [](const fs::path& path) { return fs::exists(path / "manifest.json"); }, describe_checkpoint};
}

Inspector run_inspector() {
  return {"a run folder", [](const fs::path& path) { return fs::is_directory(path / "checkpoints"); },
          [](const fs::path& path) { return describe_newest(path / "checkpoints"); }};
}

Inspector weights_inspector() {
  return {"a folder of fern import, prune or densify", holds_checkpoints, describe_newest};
}

}  // namespace fern
