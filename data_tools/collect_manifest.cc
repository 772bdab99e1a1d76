#include "data_tools/collect_manifest.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "data_tools/collect.h"
#include "data_tools/collect_file.h"
#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {
namespace {

using nlohmann::ordered_json;

constexpr const char* kFile = "collection.json";
constexpr size_t kNamesShown = 12;

// Reason -> segments, for reasons that there were.
ordered_json dropped_json(const std::array<int64_t, kDropReasons>& dropped) {
  ordered_json reasons = ordered_json::object();
  for (size_t reason = 0; reason < dropped.size(); ++reason)
    if (dropped[reason] > 0) reasons[std::string(drop_name(static_cast<Drop>(reason)))] = dropped[reason];
  return reasons;
}

ordered_json languages_json(const CollectManifest& manifest) {
  ordered_json languages = ordered_json::object();
  for (const auto& [language, result] : manifest.languages)
    languages[language] = {{"segments", result.segments},
                           {"characters", result.characters},
                           {"sources", result.by_source},
                           {"left_out", dropped_json(result.dropped)}};
  return languages;
}

// Licence -> packages with their versions, or sources where there is no package.
ordered_json licences_json(const CollectManifest& manifest) {
  std::map<std::string, std::set<std::string>> licences;
  for (const Origin& origin : manifest.origins) {
    std::string name = origin.package.empty() ? origin.source : origin.package;
    if (!origin.version.empty()) name.append(1, ' ').append(origin.version);
    licences[origin.licence].insert(std::move(name));
  }
  return licences;
}

std::vector<std::string> all_warnings(const CollectManifest& manifest) {
  std::vector<std::string> warnings = manifest.warnings;
  for (const auto& [language, result] : manifest.languages)
    warnings.insert(warnings.end(), result.warnings.begin(), result.warnings.end());
  return warnings;
}

// "a, b, c and 4 more".
std::string shortened(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamesShown);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<int64_t>(shown), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

std::string with_separators(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

std::string describe_sources(const ordered_json& manifest) {
  std::map<std::string, int64_t> segments, languages;
  for (const auto& [language, entry] : manifest.at("languages").items())
    for (const auto& [source, count] : entry.at("sources").items()) {
      segments[source] += count.get<int64_t>();
      ++languages[source];
    }
  std::string text;
  for (const auto& [source, count] : segments)
    text += fmt::format("  {:<12} {:>12} segments in {} languages\n", source, with_separators(count),
                        languages[source]);
  return text;
}

int64_t count_languages(const ordered_json& manifest) {
  const auto& languages = manifest.at("languages");
  return std::count_if(languages.begin(), languages.end(),
                       [](const ordered_json& entry) { return entry.at("segments").get<int64_t>() > 0; });
}

std::string describe(const ordered_json& manifest) {
  std::string text = fmt::format(
      "{} segments, {} characters, {} languages\n", with_separators(manifest.at("segments").get<int64_t>()),
      with_separators(manifest.at("characters").get<int64_t>()), count_languages(manifest));
  text += describe_sources(manifest) + "licences:\n";
  for (const auto& [licence, packages] : manifest.at("licences").items())
    text += fmt::format("  {}: {}\n", licence, shortened(packages.get<std::vector<std::string>>()));
  if (!manifest.at("left_out").empty()) text += "left out:\n";
  for (const auto& [reason, count] : manifest.at("left_out").items())
    text += fmt::format("  {:<28} {:>12}\n", reason, with_separators(count.get<int64_t>()));
  std::vector<std::string> codes;
  for (const auto& [code, count] : manifest.at("refused_codes").items())
    codes.push_back(fmt::format("{} ({})", code, count.get<int64_t>()));
  if (!codes.empty()) text += fmt::format("codes that name no language: {}\n", shortened(codes));
  for (const auto& warning : manifest.at("warnings"))
    text += fmt::format("warning: {}\n", warning.get<std::string>());
  return text;
}

}  // namespace

void write_manifest(const CollectManifest& manifest, const std::filesystem::path& folder) {
  LanguageResult all;
  for (const auto& [language, result] : manifest.languages) {
    all.segments += result.segments;
    all.characters += result.characters;
    for (size_t reason = 0; reason < all.dropped.size(); ++reason)
      all.dropped[reason] += result.dropped[reason];
  }
  const ordered_json json = {{"format", "fern collection"},
                             {"version", 1},
                             {"fingerprint", manifest.fingerprint},
                             {"segments", all.segments},
                             {"characters", all.characters},
                             {"languages", languages_json(manifest)},
                             {"licences", licences_json(manifest)},
                             {"left_out", dropped_json(all.dropped)},
                             {"refused_codes", manifest.refused_codes},
                             {"warnings", all_warnings(manifest)}};
  write_text_durably(folder / kFile, json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

std::string fingerprint_of_collection(const std::filesystem::path& folder) {
  if (!std::filesystem::is_regular_file(folder / kFile)) return {};
  const ordered_json json = ordered_json::parse(read_whole_file(folder / kFile), nullptr, false);
  const bool ours = json.is_object() && json.value("format", "") == "fern collection";
  return ours ? json.value("fingerprint", "") : "";
}

std::string describe_collection(const std::filesystem::path& folder) {
  const std::string content = read_whole_file(folder / kFile);
  try {
    return describe(ordered_json::parse(content));
  } catch (const nlohmann::json::exception& error) {
    fail("{}: expected what `fern collect` writes: {}; collect again", (folder / kFile).string(),
         error.what());
  }
}

}  // namespace fern
