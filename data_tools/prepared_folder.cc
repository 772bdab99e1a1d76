#include "data_tools/prepared_folder.h"

#include <fmt/ranges.h>

#include <fstream>

#include "framework/core/error.h"
#include "framework/core/files.h"
#include "framework/core/hash.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSettingsFile = "settings.json";

// Nothing when the file is not there or is not JSON.
std::optional<json> read_json(const fs::path& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  json value = json::parse(file, nullptr, false);
  return value.is_discarded() ? std::nullopt : std::optional(std::move(value));
}

fs::path with_suffix(const fs::path& folder, const char* suffix) { return folder.string() + suffix; }

std::string fingerprint(const json& settings) {
  const std::string text = settings.dump();
  return xxh128_hex(text.data(), text.size());
}

}  // namespace

PreparedFolder::PreparedFolder(fs::path folder, json settings)
    : folder_(std::move(folder.lexically_normal())), settings_(std::move(settings)) {
  if (!folder_.has_filename()) folder_ = folder_.parent_path();
  const bool taken = fs::exists(folder_) && !(fs::is_directory(folder_) && fs::is_empty(folder_));
  expect(!taken || manifest_of(folder_),
         "data.folder: {} is there, but fern prepare did not make it (it has no {}); "
         "name another folder or move it away",
         folder_.string(), kPreparedFile);
  // An earlier run may have been stopped between its last two renames.
  if (!taken && manifest_of(partial())) put_in_place();
}

std::optional<json> PreparedFolder::manifest_of(const fs::path& folder) const {
  auto manifest = read_json(folder / kPreparedFile);
  return manifest && manifest->contains("fingerprint") ? manifest : std::nullopt;
}

bool PreparedFolder::done() const {
  const auto manifest = manifest_of(folder_);
  return manifest && manifest->at("fingerprint") == fingerprint(settings_);
}

std::string PreparedFolder::changes() const {
  const auto manifest = manifest_of(folder_);
  if (!manifest || !manifest->contains("settings")) return "";
  const json& before = manifest->at("settings");
  std::vector<std::string> names;
  for (const auto& [name, value] : settings_.items()) {
    if (!before.contains(name) || before.at(name) != value) names.push_back(name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

fs::path PreparedFolder::partial() const { return with_suffix(folder_, ".partial"); }
fs::path PreparedFolder::reports() const { return partial() / "reports"; }

bool PreparedFolder::begin() {
  create_folders(partial());
  lock_.emplace(lock_file_beside(folder_),
                folder_.string() +
                    ": another fern prepare is at work on this folder; wait for it, stop it, or name another "
                    "data.folder");
  const bool continues = read_json(partial() / kSettingsFile) == settings_;
  if (continues) return true;
  remove_tree(partial());
  create_folders(reports());
  write_text_durably(partial() / kSettingsFile, settings_.dump(2));
  return false;
}

std::optional<json> PreparedFolder::report_of(const std::string& language) const {
  return read_json(reports() / (language + ".json"));
}

void PreparedFolder::keep_report(const std::string& language, const json& report) {
  write_text_durably(reports() / (language + ".json"), report.dump());
}

void PreparedFolder::finish(json manifest) {
  manifest["settings"] = settings_;
  manifest["fingerprint"] = fingerprint(settings_);
  remove_tree(reports());
  fs::remove(partial() / kSettingsFile);
  write_text_durably(partial() / kPreparedFile, manifest.dump(2));
  put_in_place();
}

void PreparedFolder::put_in_place() const {
  const fs::path old = with_suffix(folder_, ".old");
  remove_tree(old);
  if (fs::exists(folder_)) rename_durably(folder_, old);
  rename_durably(partial(), folder_);
  remove_tree(old);
}

}  // namespace fern
