// A checkpoint of weights only, made from another model.
#pragma once

#include <filesystem>
#include <memory>

#include "launch/loaded_model.h"

namespace fern {

// Errors (kBadUsage): `out` is a file; a run folder, whose own checkpoints a step-NNNNNN beside them would
// hide from find_checkpoint(); the folder of a run's checkpoints, as one of which it would count; a
// checkpoint, or in one.
void expect_weights_folder(const std::filesystem::path& out);

// The model of a run or checkpoint, whose weights go into OUT/step-NNNNNN. Errors, before its weights are
// read: those of expect_weights_folder(); (kBadUsage) a checkpoint of that name is there. Then those of
// load_model().
std::unique_ptr<LoadedModel> load_source(const std::filesystem::path& run_or_checkpoint,
                                         const std::filesystem::path& out);

// Saves `parameters`, weights of the model of `source` under other patterns, into OUT/step-NNNNNN with the
// step, the tokenizer, the recipe and the ledger of the source. Returns what the checkpoint says of itself.
// REQUIRES: `source` is of load_source() with this `out`. Errors: those of save_checkpoint().
Manifest save_weights(const std::filesystem::path& out, const LoadedModel& source,
                      const Parameters& parameters);

}  // namespace fern
