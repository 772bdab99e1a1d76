// What a file of a checkpoint must be, byte for byte: its length, a hash of each dataset (from memory, before
// it was written), and a hash of all bytes that belong to no dataset. Checking needs no HDF5, so a damaged
// file is refused before any library reads it.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fern {

struct DatasetRecord {
  std::string name;
  uint64_t offset_bytes = 0, size_bytes = 0;  // where its values are in the file
  std::string hash;                           // XXH3-128 of them
};

struct FileRecord {
  uint64_t size_bytes = 0;
  std::vector<DatasetRecord> datasets;  // by offset, not overlapping
  std::string rest_hash;                // XXH3-128 of all other bytes, in order
};

// Of a file without datasets.
FileRecord record_of(std::string_view bytes);
// Sorts the datasets, and takes length and rest_hash from a file that was just written. Errors: it cannot be
// read.
void complete(FileRecord& record, const std::filesystem::path& path);

// Reads every byte. Errors: missing, of another length (truncated), a hash that differs, naming the dataset.
void verify(const FileRecord& record, const std::filesystem::path& path);
// The same without the datasets' own bytes, for a caller that will hash them as it reads them.
void verify_rest(const FileRecord& record, const std::filesystem::path& path);
// The error for a dataset that does not hash to its record.
[[noreturn]] void refuse_dataset(const std::filesystem::path& path, const DatasetRecord& dataset,
                                 const std::string& hash);

nlohmann::json to_json(const FileRecord& record);
// Errors: nlohmann's, for a member that is missing or of another type.
FileRecord file_record_from_json(const nlohmann::json& json);

}  // namespace fern
