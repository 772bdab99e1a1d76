// manifest.json: written, read back, and checked against its own hash.
#include <cstdio>
#include <fstream>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/layout.h"
#include "framework/core/error.h"
#include "framework/core/hash.h"

namespace fern {

namespace {

using Json = nlohmann::json;

constexpr const char* kOwnHash = "manifest_hash";

// Text that is not UTF-8 is written with replacement characters instead of stopping a save.
std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string own_hash(Json json) {
  json.erase(kOwnHash);
  const std::string text = dump(json, -1);
  return xxh128_hex(text.data(), text.size());
}

Json to_json(const Manifest& m) {
  Json json{{"format", m.format},
            {"step", m.step},
            {"updates", m.updates},
            {"skipped_in_a_row", m.skipped_in_a_row},
            {"model", m.model},
            {"recipe", m.recipe},
            {"tokenizer_sha256", m.tokenizer_sha256},
            {"weights_hash", m.weights_hash},
            {"optimizer_hash", m.optimizer_hash},
            {"parameters", m.parameters},
            {"nonzeros", m.nonzeros},
            {"state", m.state},
            {"files", Json::object()}};
  if (!m.topology_hash.empty()) {
    json["topology_hash"] = m.topology_hash;
    json["sparsity"] = m.sparsity;
  }
  for (const auto& [name, record] : m.files) json["files"][name] = to_json(record);
  return json;
}

Manifest manifest_of(const Json& json) {
  Manifest m;
  m.format = json.at("format");
  m.step = json.at("step");
  m.updates = json.at("updates");
  m.skipped_in_a_row = json.at("skipped_in_a_row");
  m.model = json.at("model");
  m.recipe = json.at("recipe");
  m.tokenizer_sha256 = json.at("tokenizer_sha256");
  m.weights_hash = json.at("weights_hash");
  m.optimizer_hash = json.at("optimizer_hash");
  m.parameters = json.at("parameters");
  m.nonzeros = json.at("nonzeros");
  m.state = json.at("state");
  m.topology_hash = json.value("topology_hash", std::string());
  m.sparsity = json.value("sparsity", Json::object());
  for (const auto& [name, record] : json.at("files").items()) m.files[name] = file_record_from_json(record);
  return m;
}

Json parsed(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_errno(fmt::format("cannot read {}: a checkpoint has a manifest.json", path.string()));
  Json json = Json::parse(file, nullptr, false);
  expect(json.is_object(), "{}: expected a JSON object, got something else: it is truncated or damaged",
         path.string());
  return json;
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  Json json = to_json(manifest);
  // Hashed as it will be read, so that replaced characters do not count as a change.
  json = Json::parse(dump(json, -1));
  json[kOwnHash] = own_hash(json);
  return dump(json, 2) + "\n";
}

Manifest read_manifest(const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / kManifestFile;
  const Json json = parsed(path);
  const Json format = json.value("format", Json());
  expect(format.is_number_integer(), "{}: expected an integer 'format': not a checkpoint's manifest",
         path.string());
  expect(format.get<int64_t>() <= kCheckpointFormat,
         "{}: format {} is newer than this program's {}; use the fern that wrote it", path.string(),
         format.get<int64_t>(), kCheckpointFormat);
  expect(json.value(kOwnHash, Json()) == own_hash(json),
         "{}: its own hash does not agree: it was changed after it was written", path.string());
  try {
    return manifest_of(json);
  } catch (const Json::exception& error) {
    fail("{}: not a manifest of format {}: {}", path.string(), kCheckpointFormat, error.what());
  }
}

}  // namespace fern
