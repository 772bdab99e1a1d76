#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/core/error.h"
#include "framework/data/loader.h"

namespace fern {

namespace {

std::vector<std::filesystem::path> shard_paths(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  if (std::filesystem::is_directory(folder))
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".h5") paths.push_back(entry.path());
  expect(!paths.empty(), "{}: expected shards (*.h5) there, but there is none: run fern prepare",
         folder.string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

template <typename Count>
int64_t sum_over(const std::vector<Shard>& shards, Count count) {
  int64_t sum = 0;
  for (const Shard& shard : shards) sum += (shard.*count)();
  return sum;
}

}  // namespace

LanguageData::LanguageData(std::string language, std::vector<Shard> shards)
    : language_(std::move(language)), shards_(std::move(shards)), first_sequence_{0} {
  for (const Shard& shard : shards_) first_sequence_.push_back(first_sequence_.back() + shard.sequences());
}

int64_t LanguageData::tokens() const { return sum_over(shards_, &Shard::tokens); }
int64_t LanguageData::loss_tokens() const { return sum_over(shards_, &Shard::loss_tokens); }
int64_t LanguageData::bytes() const { return sum_over(shards_, &Shard::bytes); }

size_t LanguageData::shard_number(int64_t index) const {
  const auto after = std::upper_bound(first_sequence_.begin(), first_sequence_.end(), index);
  return static_cast<size_t>(after - first_sequence_.begin() - 1);
}

const Shard& LanguageData::shard_of(int64_t index) const { return shards_[shard_number(index)]; }

PackedSequence LanguageData::sequence(int64_t index) const {
  const size_t shard = shard_number(index);
  return shards_[shard].sequence(index - first_sequence_[shard]);
}

SequenceCounts LanguageData::sequence_counts(int64_t index) const {
  const size_t shard = shard_number(index);
  return shards_[shard].sequence_counts(index - first_sequence_[shard]);
}

namespace {

// Names ("train/sw.gettext.h5") that prepare.json lists for a split; none where there is no prepare.json.
std::set<std::string> listed_shards(const std::filesystem::path& folder, const std::string& split) {
  std::set<std::string> listed;
  std::ifstream file(folder / "prepare.json");
  if (!file) return listed;
  const nlohmann::json prepared = nlohmann::json::parse(file, nullptr, false);
  expect(!prepared.is_discarded(), "{}: not JSON: run fern prepare again",
         (folder / "prepare.json").string());
  const nlohmann::json languages = prepared.value("languages", nlohmann::json::object());
  for (const auto& [language, entry] : languages.items())
    for (const auto& name : entry.value("shards", nlohmann::json::array()))
      if (name.get<std::string>().starts_with(split + "/")) listed.insert(name.get<std::string>());
  return listed;
}

// What fern prepare says it wrote must be there, and nothing else: either would change every share.
void expect_the_listed(const std::filesystem::path& folder, const std::string& split,
                       const std::vector<std::filesystem::path>& paths) {
  const std::set<std::string> listed = listed_shards(folder, split);
  if (listed.empty()) return;
  for (const std::string& name : listed)
    expect(std::filesystem::exists(folder / name),
           "{}: expected a shard there, as prepare.json lists it, but it is missing: run fern prepare again",
           (folder / name).string());
  for (const std::filesystem::path& path : paths)
    expect(listed.contains(split + "/" + path.filename().string()),
           "{}: prepare.json does not list this shard: move it away, or run fern prepare again with its text",
           path.string());
}

}  // namespace

std::vector<LanguageData> open_languages(const std::filesystem::path& folder, const std::string& split,
                                         const std::string& tokenizer_sha256, int64_t context) {
  const std::vector<std::filesystem::path> paths = shard_paths(folder / split);
  expect_the_listed(folder, split, paths);
  std::map<std::string, std::vector<Shard>> by_language;
  for (const std::filesystem::path& path : paths) {
    Shard shard(path);
    shard.expect_made_with(tokenizer_sha256, context);
    expect(shard.header().split == split, "{}: expected a shard of split {}, got {}: run fern prepare again",
           path.string(), split, shard.header().split);
    by_language[shard.header().language].push_back(std::move(shard));
  }
  std::vector<LanguageData> languages;
  for (auto& [language, shards] : by_language) languages.emplace_back(language, std::move(shards));
  return languages;
}

void verify_shards(const std::vector<LanguageData>& languages, int64_t part, int64_t parts) {
  int64_t number = 0;
  for (const LanguageData& language : languages)
    for (const Shard& shard : language.shards())
      if (number++ % parts == part) shard.verify();
}

}  // namespace fern
