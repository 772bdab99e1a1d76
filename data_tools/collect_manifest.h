// collection.json: what a collection holds and what it was made from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data_tools/collect_language.h"
#include "data_tools/segment.h"

namespace fern {

struct CollectManifest {
  std::string fingerprint;                          // of sources, their files and the options
  std::map<std::string, LanguageResult> languages;  // by BCP 47 tag; those left with no segment too
  std::map<std::string, int64_t> refused_codes;     // code -> files, or segments for JSONL
  std::vector<Origin> origins;
  std::vector<std::string> warnings;
};

// Writes collection.json into `folder`. Errors: not writable.
void write_manifest(const CollectManifest& manifest, const std::filesystem::path& folder);

// Its fingerprint; "" when `folder` holds no collection.json that can be read.
std::string fingerprint_of_collection(const std::filesystem::path& folder);

}  // namespace fern
