// Names inside a checkpoint, shared by saving and loading.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace fern {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kWeightsFile = "weights.h5";
inline constexpr const char* kOptimizerFile = "optimizer.h5";
inline constexpr const char* kTopologyFile = "topology.h5";
inline constexpr const char* kExpertsFile = "experts.h5";
inline constexpr const char* kLedgerFile = "ledger.json";
inline constexpr const char* kTokenizerFile = "tokenizer.model";
inline constexpr const char* kFirstMoment = "first_moment/";
inline constexpr const char* kSecondMoment = "second_moment/";

// "step-000123", and the hidden folder that it is before it is whole and after it is given up.
std::string checkpoint_name(int64_t step);
std::string temporary_name(int64_t step);
// The step of a folder's name; none for any other name.
std::optional<int64_t> step_of_checkpoint(const std::filesystem::path& folder);
bool is_temporary(const std::filesystem::path& folder);

// manifest.json as text, with a hash over itself.
struct Manifest;
std::string manifest_text(const Manifest& manifest);

}  // namespace fern
