// One HDF5 file of a checkpoint: datasets that are hashed from memory as they are written, and again as they
// are read. Private to saving and loading.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/file_record.h"
#include "framework/core/hash.h"
#include "framework/core/hdf5_file.h"

namespace fern {

class DatasetWriter {
 public:
  explicit DatasetWriter(std::filesystem::path path)
      : path_(std::move(path)), file_(Hdf5File::create(path_)) {}

  template <typename T>
  void write(const std::string& name, std::span<const T> values, std::vector<int64_t> dims = {}) {
    file_.write<T>(name, values, std::move(dims));
    const Hdf5Dataset written = file_.dataset(name);
    record_.datasets.push_back(
        {name, written.offset_bytes, written.size_bytes, xxh128_hex(values.data(), values.size_bytes())});
  }
  // On disk, with what it must be from now on.
  FileRecord finish();

 private:
  std::filesystem::path path_;
  Hdf5File file_;
  FileRecord record_;
};

// Errors: the manifest names no such file; bytes outside the datasets have changed.
class DatasetReader {
 public:
  DatasetReader(const std::filesystem::path& checkpoint, const Manifest& manifest, const std::string& file);

  bool has(const std::string& name) const { return find(name) != nullptr; }
  // Errors: absent, of other dims, of another type, values that do not hash to their record.
  template <typename T>
  void read(std::span<T> out, const std::string& name, const std::vector<int64_t>& dims) const {
    const DatasetRecord& record = expect_dims(name, dims);
    file_.read<T>(name, out);
    const std::string hash = xxh128_hex(out.data(), out.size_bytes());
    if (hash != record.hash) refuse_dataset(path_, record, hash);
  }
  // A vector of whatever length it has there.
  template <typename T>
  std::vector<T> read_all(const std::string& name) const {
    std::vector<T> values(static_cast<size_t>(elements_of(name)));
    read<T>(values, name, {static_cast<int64_t>(values.size())});
    return values;
  }
  // Refuses datasets that are none of these.
  void expect_no_others(std::vector<std::string> names) const;

 private:
  const DatasetRecord* find(const std::string& name) const;
  const DatasetRecord& expect_dims(const std::string& name, const std::vector<int64_t>& dims) const;
  int64_t elements_of(const std::string& name) const;
  [[noreturn]] void refuse(const std::string& why) const;

  std::filesystem::path path_;
  const FileRecord& record_;
  const nlohmann::json& model_;
  Hdf5File file_;
};

// The manifest's record of a file. Errors: it names none.
const FileRecord& record_in(const Manifest& manifest, const std::filesystem::path& checkpoint,
                            const std::string& file);

}  // namespace fern
