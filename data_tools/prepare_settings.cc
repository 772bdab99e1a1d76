#include "data_tools/prepare_settings.h"

#include <array>
#include <fstream>
#include <set>

#include "framework/core/error.h"
#include "framework/core/hash.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kPreparedFormat = 1;  // goes up when the same settings would give other data

std::string hash_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_errno("cannot read " + path.string());
  Xxh128 hash;
  std::vector<char> block(1 << 20);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0)
    hash.update(block.data(), static_cast<size_t>(file.gcount()));
  return hash.hex();
}

json segment_hashes(const LanguageFiles& files) {
  json hashes = json::object();
  std::set<fs::path> origins;
  for (const auto& [language, language_files] : files) {
    for (const SegmentFile& file : language_files) {
      hashes[file.path.string()] = hash_of(file.path);
      if (file.origins) origins.insert(file.path.parent_path().parent_path() / "origins.jsonl");
    }
  }
  for (const fs::path& path : origins) hashes[path.string()] = hash_of(path);
  return hashes;
}

json template_hashes(const fs::path& folder) {
  json hashes = json::object();
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") hashes[entry.path().filename().string()] = hash_of(entry.path());
  }
  return hashes;
}

json balance_settings(const DataConfig& data) {
  constexpr std::array<const char*, 3> rules = {"temperature", "unimax", "weights"};
  return {{"rule", rules[static_cast<size_t>(data.balance.kind)]},
          {"alpha", data.balance.alpha},
          {"max_epochs", data.balance.max_epochs},
          {"weights", data.balance.weights},
          {"languages", data.weight_languages}};
}

}  // namespace

json data_settings(const Recipe& recipe) {
  const DataConfig& data = recipe.data;
  return {{"kind", data.kind == DataKind::kInstruct ? "instruct" : "pretrain"},
          {"languages", data.languages},
          {"min_segments", data.min_segments},
          {"max_segments", data.max_segments},
          {"valid_percent", data.valid_percent},
          {"test_percent", data.test_percent},
          {"vocabulary", recipe.tokenizer.vocabulary},
          {"character_coverage", recipe.tokenizer.character_coverage},
          {"tokenizer_mb", data.tokenizer_mb}};
}

json prepare_settings(const Recipe& recipe, const LanguageFiles& files) {
  const bool instruct = recipe.data.kind == DataKind::kInstruct;
  json settings = data_settings(recipe);
  settings["format"] = kPreparedFormat;
  settings["context"] = recipe.model.context;
  settings["balance"] = balance_settings(recipe.data);
  settings["templates"] = instruct ? template_hashes(recipe.templates_folder()) : json::object();
  settings["segments"] = segment_hashes(files);
  return settings;
}

}  // namespace fern
