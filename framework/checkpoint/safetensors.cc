#include "framework/checkpoint/safetensors.h"

#include <nlohmann/json.hpp>

#include <bit>
#include <cstring>
#include <fstream>

#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

constexpr uint64_t kLength_bytes = 8;
constexpr uint64_t kMaxHeader_bytes = 100'000'000;  // the format's own limit

uint64_t bytes_of_type(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "BF16" || dtype == "F16" || dtype == "I16" || dtype == "U16") return 2;
  return 1;
}

uint64_t elements_of(const std::vector<int64_t>& shape) {
  uint64_t product = 1;
  for (int64_t dim : shape) product *= static_cast<uint64_t>(dim);
  return product;
}

std::string header_of(std::span<const NamedValues> tensors,
                      const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t begin = 0;
  for (const NamedValues& tensor : tensors) {
    const uint64_t end = begin + tensor.size_bytes();
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + kLength_bytes - 1) / kLength_bytes * kLength_bytes,
              ' ');  // values start aligned
  return text;
}

SafetensorsFile::Entry entry_of(const std::filesystem::path& path, const std::string& name, const json& value,
                                uint64_t data_bytes) {
  SafetensorsFile::Entry entry;
  entry.dtype = value.at("dtype").get<std::string>();
  entry.shape = value.at("shape").get<std::vector<int64_t>>();
  const auto offsets = value.at("data_offsets").get<std::vector<uint64_t>>();
  expect(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes,
         "{}: tensor '{}' lies outside the file's {} bytes of data: the file is truncated or damaged",
         path.string(), name, data_bytes);
  entry.begin = offsets[0];
  entry.end = offsets[1];
  for (int64_t dim : entry.shape)
    expect(dim >= 0, "{}: tensor '{}' has a negative size", path.string(), name);
  expect(entry.end - entry.begin == elements_of(entry.shape) * bytes_of_type(entry.dtype),
         "{}: tensor '{}' has {} bytes, which its shape and dtype {} do not", path.string(), name,
         entry.end - entry.begin, entry.dtype);
  return entry;
}

float widen_f16(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31, exponent = (half >> 10) & 31u, fraction = half & 1023u;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1.0p-24f;
    return sign ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

}  // namespace

uint64_t NamedValues::size_bytes() const { return elements_of(shape) * sizeof(float); }

void write_safetensors(const std::filesystem::path& path, std::span<const NamedValues> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata);
  const uint64_t length = header.size();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&length), kLength_bytes);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  std::vector<float> filled;
  for (const NamedValues& tensor : tensors) {
    filled.resize(tensor.fill ? elements_of(tensor.shape) : 0);
    if (tensor.fill) tensor.fill(filled);
    const std::span<const float> values = tensor.fill ? filled : tensor.values;
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size_bytes()));
  }
  file.close();
  if (!file) {
    const int code = errno;
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    errno = code;
    fail_errno(fmt::format("cannot write {}: is the disk full or the folder read-only?", path.string()));
  }
  sync_to_disk(path);
}

SafetensorsFile::SafetensorsFile(std::filesystem::path path) : path_(std::move(path)) {
  std::ifstream file(path_, std::ios::binary);
  if (!file) fail_errno(fmt::format("cannot read {}", path_.string()));
  const uint64_t file_bytes = std::filesystem::file_size(path_);
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), kLength_bytes);
  expect(file.good() && length <= kMaxHeader_bytes && kLength_bytes + length <= file_bytes,
         "{}: not a safetensors file, or truncated ({} bytes in all)", path_.string(), file_bytes);
  std::string text(length, '\0');
  file.read(text.data(), static_cast<std::streamsize>(length));
  data_begin_ = kLength_bytes + length;
  try {
    const json header = json::parse(text);
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__")
        metadata_ = value.get<std::map<std::string, std::string>>();
      else
        entries_[name] = entry_of(path_, name, value, file_bytes - data_begin_);
    }
    uint64_t bytes = 0;
    for (const auto& [name, entry] : entries_) bytes += entry.end - entry.begin;
    expect(bytes == file_bytes - data_begin_,
           "{}: expected {} bytes of tensors after the header, got {}: the file is damaged", path_.string(),
           bytes, file_bytes - data_begin_);
  } catch (const json::exception& error) {
    fail("{}: the header is not what the safetensors format says: {}", path_.string(), error.what());
  }
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  expect(found != entries_.end(), "{}: no tensor '{}'", path_.string(), name);
  return found->second;
}

void SafetensorsFile::read(const std::string& name, std::span<float> out) const {
  const uint64_t elements = elements_of(entry(name).shape);
  expect(elements == out.size(), "{}: tensor '{}' has {} elements, expected {}", path_.string(), name,
         elements, out.size());
  read_part(name, 0, out);
}

void SafetensorsFile::read_part(const std::string& name, int64_t first, std::span<float> out) const {
  const Entry& entry = this->entry(name);
  const auto skipped = static_cast<uint64_t>(first);
  expect(skipped + out.size() <= elements_of(entry.shape),
         "{}: tensor '{}' has {} elements, expected {} from number {} on", path_.string(), name,
         elements_of(entry.shape), out.size(), first);
  expect(entry.dtype == "F32" || entry.dtype == "BF16" || entry.dtype == "F16",
         "{}: tensor '{}' is {}; F32, BF16 and F16 can be read", path_.string(), name, entry.dtype);
  std::ifstream file(path_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(data_begin_ + entry.begin + skipped * bytes_of_type(entry.dtype)));
  if (entry.dtype == "F32") {
    file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size_bytes()));
  } else {
    std::vector<uint16_t> halves(out.size());
    file.read(reinterpret_cast<char*>(halves.data()), static_cast<std::streamsize>(2 * halves.size()));
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = entry.dtype == "F16" ? widen_f16(halves[i]) : std::bit_cast<float>(uint32_t{halves[i]} << 16);
  }
  if (!file) fail_errno(fmt::format("cannot read tensor '{}' of {}", name, path_.string()));
}

}  // namespace fern
