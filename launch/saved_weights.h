// A checkpoint of weights only, made from another.
#pragma once

#include <filesystem>

#include "launch/loaded_model.h"

namespace fern {

// Saves `parameters`, weights of the model of `source` under other patterns, into OUT/step-NNNNNN with the
// step, the tokenizer, the recipe and the ledger of the source. Returns what the checkpoint says of itself.
// Errors: (kBadUsage) a checkpoint of that name is there; those of save_checkpoint().
Manifest save_weights(const std::filesystem::path& out, const LoadedModel& source,
                      const Parameters& parameters);

}  // namespace fern
