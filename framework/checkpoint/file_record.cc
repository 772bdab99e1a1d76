#include "framework/checkpoint/file_record.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "framework/core/error.h"
#include "framework/core/hash.h"

namespace fern {

namespace {

// Ranges of a file, fed to hashes.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(path, std::ios::binary) {
    if (!file_) fail_errno(fmt::format("cannot read {}", path.string()));
  }
  void feed(Xxh128& hash, uint64_t begin, uint64_t end) {
    file_.seekg(static_cast<std::streamoff>(begin));
    for (uint64_t left = end - begin; left > 0;) {
      const uint64_t part = std::min<uint64_t>(left, block_.size());
      if (!file_.read(block_.data(), static_cast<std::streamsize>(part)))
        fail("cannot read {}: it ends or fails before byte {}", path_.string(), end);
      hash.update(block_.data(), part);
      left -= part;
    }
  }

 private:
  const std::filesystem::path& path_;
  std::ifstream file_;
  std::array<char, 1 << 16> block_;
};

std::string rest_hash(const FileRecord& record, const std::filesystem::path& path) {
  Reader reader(path);
  Xxh128 hash;
  uint64_t at = 0;
  for (const DatasetRecord& dataset : record.datasets) {
    expect(at <= dataset.offset_bytes && dataset.offset_bytes + dataset.size_bytes <= record.size_bytes,
           "{}: dataset {} lies outside the file or over another", path.string(), dataset.name);
    reader.feed(hash, at, dataset.offset_bytes);
    at = dataset.offset_bytes + dataset.size_bytes;
  }
  reader.feed(hash, at, record.size_bytes);
  return hash.hex();
}

uint64_t size_of_file(const std::filesystem::path& path) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) fail("cannot read {}: {}", path.string(), error.message());
  return size;
}

}  // namespace

FileRecord record_of(std::string_view bytes) {
  return {.size_bytes = bytes.size(), .datasets = {}, .rest_hash = xxh128_hex(bytes.data(), bytes.size())};
}

void complete(FileRecord& record, const std::filesystem::path& path) {
  std::sort(record.datasets.begin(), record.datasets.end(),
            [](const auto& a, const auto& b) { return a.offset_bytes < b.offset_bytes; });
  record.size_bytes = size_of_file(path);
  record.rest_hash = rest_hash(record, path);
}

void verify_rest(const FileRecord& record, const std::filesystem::path& path) {
  const uint64_t size = size_of_file(path);
  expect(size == record.size_bytes, "{}: expected {} bytes, got {}: it is truncated or was changed",
         path.string(), record.size_bytes, size);
  const std::string hash = rest_hash(record, path);
  expect(hash == record.rest_hash, "{}: expected hash {}{}, got {}: it is damaged", path.string(),
         record.rest_hash, record.datasets.empty() ? "" : " outside its datasets", hash);
}

void verify(const FileRecord& record, const std::filesystem::path& path) {
  verify_rest(record, path);
  Reader reader(path);
  for (const DatasetRecord& dataset : record.datasets) {
    Xxh128 hash;
    reader.feed(hash, dataset.offset_bytes, dataset.offset_bytes + dataset.size_bytes);
    if (hash.hex() != dataset.hash) refuse_dataset(path, dataset, hash.hex());
  }
}

void refuse_dataset(const std::filesystem::path& path, const DatasetRecord& dataset,
                    const std::string& hash) {
  fail("{}: dataset {}: expected hash {}, got {}: it is damaged", path.string(), dataset.name, dataset.hash,
       hash);
}

nlohmann::json to_json(const FileRecord& record) {
  nlohmann::json json{{"bytes", record.size_bytes}, {"rest_hash", record.rest_hash}};
  if (record.datasets.empty()) return json;
  for (const DatasetRecord& dataset : record.datasets)
    json["datasets"][dataset.name] = {
        {"offset", dataset.offset_bytes}, {"bytes", dataset.size_bytes}, {"hash", dataset.hash}};
  return json;
}

FileRecord file_record_from_json(const nlohmann::json& json) {
  FileRecord record{.size_bytes = json.at("bytes"), .datasets = {}, .rest_hash = json.at("rest_hash")};
  if (!json.contains("datasets")) return record;
  for (const auto& [name, dataset] : json.at("datasets").items())
    record.datasets.push_back({name, dataset.at("offset"), dataset.at("bytes"), dataset.at("hash")});
  std::sort(record.datasets.begin(), record.datasets.end(),
            [](const auto& a, const auto& b) { return a.offset_bytes < b.offset_bytes; });
  return record;
}

}  // namespace fern
