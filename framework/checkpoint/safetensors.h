// The safetensors format (Hugging Face, "safetensors", README, section "Format"): eight bytes of header
// length, little endian; that many bytes of JSON, {"name": {"dtype", "shape", "data_offsets"},
// "__metadata__": {...}}; then the bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace fern {

// A tensor to write: f32, row-major.
struct NamedValues {
  std::string name;
  std::vector<int64_t> shape;
  std::span<const float> values;                    // borrowed
  std::function<void(std::span<float>)> fill = {};  // in place of values: writes them when their turn comes

  uint64_t size_bytes() const;  // by its shape
};

// Writes and syncs one file; tensors lie in the order given, without gaps. Of those with `fill` one at a time
// is in memory. REQUIRES: values.size() fits shape. Errors: not writable, disk full (the file is removed).
void write_safetensors(const std::filesystem::path& path, std::span<const NamedValues> tensors,
                       const std::map<std::string, std::string>& metadata);

// A file open for reading. Opening checks that header, types, shapes and offsets agree and lie inside the
// file.
class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;  // "F32", "BF16", "F16", ...
    std::vector<int64_t> shape;
    uint64_t begin = 0, end = 0;  // bytes after the header
  };

  // Errors: missing, truncated, a header that is not what the format says; each names the path.
  explicit SafetensorsFile(std::filesystem::path path);
  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Reads a tensor as f32; F32, BF16 and F16 are understood (BF16 and F16 widen exactly).
  // Errors: absent, another type, another number of elements than out.
  void read(const std::string& name, std::span<float> out) const;
  // The same of out.size() elements from number `first` on. Errors: fewer are there.
  void read_part(const std::string& name, int64_t first, std::span<float> out) const;

 private:
  const Entry& entry(const std::string& name) const;

  std::filesystem::path path_;
  uint64_t data_begin_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace fern
