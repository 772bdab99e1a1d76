#include "launch/saved_weights.h"

#include <fmt/format.h>

#include "framework/checkpoint/layout.h"

namespace fern {

Manifest save_weights(const std::filesystem::path& out, const LoadedModel& source,
                      const Parameters& parameters) {
  const std::filesystem::path checkpoint = out / checkpoint_name(source.manifest.step);
  if (std::filesystem::exists(checkpoint))
    fail_usage("--out {}: {} is there already; name a new folder", out.string(), checkpoint.string());
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
