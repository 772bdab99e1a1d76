// Checkpoints: a folder step-NNNNNN with weights.h5, topology.h5, experts.h5, optimizer.h5, tokenizer.model,
// ledger.json and manifest.json (format.md beside this header). Written to a temporary folder, hashed from
// memory, fsynced, renamed; layout-free: whole tensors by name.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/checkpoint/file_record.h"
#include "framework/checkpoint/tensor_source.h"
#include "framework/layers/routing_state.h"
#include "framework/model/parameters.h"
#include "framework/optim/weight_ages.h"

namespace fern {

inline constexpr int kCheckpointFormat = 3;  // of a checkpoint with experts
inline constexpr int kSparseFormat = 2;      // of one with patterns and without experts
inline constexpr int kDenseFormat = 1;       // of one with neither

// What a checkpoint says of itself: manifest.json.
struct Manifest {
  int format = kCheckpointFormat;
  int64_t step = 0;              // optimizer steps taken, applied or skipped
  int64_t updates = 0;           // optimizer updates applied
  int64_t skipped_in_a_row = 0;  // non-finite steps since the last applied one
  nlohmann::json model;          // ModelConfig, field by field
  std::string recipe;            // the resolved recipe, TOML
  std::string tokenizer_sha256;
  std::string weights_hash;    // over names, shapes and values in order
  std::string optimizer_hash;  // over both moments; "" when the checkpoint has none (an import)
  std::string topology_hash;   // over all patterns; "" of a dense model
  nlohmann::json sparsity;     // {name: {"block": [rows, columns], "nonzeros"}} of each sparse parameter
  int64_t parameters = 0, nonzeros = 0;
  nlohmann::json state;                     // free for the trainer: skipped steps, ...
  std::map<std::string, FileRecord> files;  // every other file of the folder
};

// What is remembered of sparse weights beside patterns and values.
struct TopologyMemory {
  struct Scores {
    std::string name;              // of the parameter
    std::vector<uint64_t> scores;  // GrowthScores::state()
    bool operator==(const Scores&) const = default;
  };
  struct EverActive {
    std::string name;            // of the parameter
    std::vector<uint64_t> bits;  // of its blocks, row by row: it exists or once did
    bool operator==(const EverActive&) const = default;
  };
  WeightAges ages;
  std::vector<Scores> scores;  // gathered for the next topology update
  std::vector<EverActive> ever_active = {};
};

// Everything a save needs. Moments are whole (padded flat buffers, f32), empty for weights only. With
// `tensors`, values and moments are asked of it instead, and `parameters` only says which there are.
struct CheckpointContents {
  const Parameters& parameters;
  std::span<const float> first_moment, second_moment;
  Manifest manifest;  // hashes, counts and files are filled in by save
  nlohmann::json ledger;
  std::filesystem::path tokenizer_model;  // copied in; may be empty
  TopologyMemory topology = {};
  ExpertMemory experts = {};
  TensorSource* tensors = nullptr;
};

// Hash of the values: XXH3-128 over, for each parameter in order, its name, shape and bytes (format.md).
std::string weights_hash(const Parameters& parameters);

// Writes folder/step-NNNNNN whole or not at all; returns it. One of that name is replaced. Only the writing
// process calls it. Errors: disk full, not writable; the temporary folder is removed and earlier checkpoints
// stay. REQUIRES: f32 tensors; moments both whole or both empty.
std::filesystem::path save_checkpoint(const std::filesystem::path& folder,
                                      const CheckpointContents& contents);

// Removes all but the newest `keep` checkpoints of a folder (0 keeps all) and left-over temporary folders.
// Only the writing process calls it, and not during a save. Errors: a folder cannot be removed.
void prune_checkpoints(const std::filesystem::path& folder, int64_t keep);

// Reads manifest.json. Errors: missing, not JSON, changed since it was written, a newer format.
Manifest read_manifest(const std::filesystem::path& checkpoint);

// Which fields of two models (Manifest::model) differ in a way that weights of one do not fit the other, as
// "8 layers (here 6), 256 hidden (here 128)"; "" when they fit.
std::string model_difference(const nlohmann::json& checkpoint_model, const nlohmann::json& own_model);

// Reads weights into parameters.values() and, when the spans are not empty, the moments of `slices` (of the
// padded flat buffers; slices.elements() each), and verifies every hash of what it reads. Errors: a parameter
// missing, of another shape, or not in the model; a hash that differs, naming the dataset; no optimizer in it
// when moments are asked for. After an error the values are undefined.
// `whole`: all parameters of the model, of which those of `parameters` are kept.
void load_checkpoint(const std::filesystem::path& checkpoint, const Manifest& manifest,
                     const Parameters& whole, Parameters& parameters, std::span<float> first_moment,
                     std::span<float> second_moment, const Slices& slices);
// The same of a whole model, with whole moments.
void load_checkpoint(const std::filesystem::path& checkpoint, const Manifest& manifest,
                     Parameters& parameters, std::span<float> first_moment, std::span<float> second_moment);
// Errors: missing, damaged.
nlohmann::json load_ledger(const std::filesystem::path& checkpoint, const Manifest& manifest);
nlohmann::json load_ledger(const std::filesystem::path& checkpoint);

// Reads every byte of a checkpoint against its hashes, without a model. Errors: as load.
void verify_checkpoint(const std::filesystem::path& checkpoint);

// The newest checkpoint in a folder that verifies; `refused` is told the reason for each newer one that did
// not. None when there is no such folder.
std::optional<std::filesystem::path> newest_valid_checkpoint(
    const std::filesystem::path& folder,
    const std::function<void(const std::filesystem::path&, const std::string& reason)>& refused);

}  // namespace fern
