#include "launch/training_data.h"

#include <fstream>

#include "data_tools/prepare_settings.h"
#include "data_tools/prepared_folder.h"
#include "framework/checkpoint/layout.h"
#include "framework/core/error.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

fs::path tokenizer_file(const Recipe& recipe) { return fs::path(recipe.data.folder) / kTokenizerFile; }

// A recipe that names other languages than were prepared would not be what was trained.
void expect_prepared_for(const Recipe& recipe) {
  std::ifstream file(fs::path(recipe.data.folder) / kPreparedFile);
  const auto manifest = nlohmann::json::parse(file, nullptr, false);
  if (!manifest.is_object() || !manifest.contains("settings")) return;  // shards that something else made
  const nlohmann::json& there = manifest.at("settings");
  const nlohmann::json here = data_settings(recipe);
  for (const auto& [key, wanted] : here.items())
    if (there.contains(key) && there.at(key) != wanted)
      fail_usage(
          "{}: this data was prepared with {} = {}, and the recipe has {}; make it again with fern prepare, "
          "name another data.folder, or set {} back",
          recipe.data.folder, key, there.at(key).dump(), wanted.dump(), key);
}

Tokenizer open_tokenizer(const Recipe& recipe) {
  expect(TrainingData::is_prepared(recipe),
         "{}: there is no prepared data (data.folder); run fern prepare {}", recipe.data.folder,
         recipe.file.string());
  expect_prepared_for(recipe);
  return Tokenizer(tokenizer_file(recipe));
}

std::vector<std::string> names_of(const std::vector<LanguageData>& languages) {
  std::vector<std::string> names;
  for (const LanguageData& language : languages) names.push_back(language.language());
  return names;
}

// Sizes are tokens, and the budget is what the run draws. UniMax promises a number of passes, and a pass is
// over packed sequences, so there they count as full.
std::vector<double> shares_of(const Recipe& recipe, const std::vector<LanguageData>& languages) {
  const BalanceRule rule = balance_for(recipe.data, names_of(languages));
  const double context = static_cast<double>(recipe.model.context);
  std::vector<double> sizes;
  for (const LanguageData& language : languages)
    sizes.push_back(rule.kind == BalanceKind::kUniMax ? static_cast<double>(language.sequences()) * context
                                                      : static_cast<double>(language.tokens()));
  const double drawn = static_cast<double>(recipe.train.steps * recipe.batch.sequences) * context;
  return balance(rule, sizes, drawn);
}

std::vector<int64_t> sequences_of(const std::vector<LanguageData>& languages) {
  std::vector<int64_t> sequences;
  for (const LanguageData& language : languages) sequences.push_back(language.sequences());
  return sequences;
}

}  // namespace

bool TrainingData::is_prepared(const Recipe& recipe) { return fs::exists(tokenizer_file(recipe)); }

TrainingData::TrainingData(const Recipe& recipe)
    : tokenizer_(open_tokenizer(recipe)),
      languages_(open_languages(recipe.data.folder, "train", tokenizer_.sha256(), recipe.model.context)),
      names_(names_of(languages_)),
      sampler_(recipe.seed, shares_of(recipe, languages_), sequences_of(languages_), recipe.batch.sequences),
      loader_(languages_, sampler_,
              {.sequences = recipe.batch.sequences,
               .micro_sequences = recipe.batch.micro_sequences,
               .context = recipe.model.context},
              recipe.batch.normalization) {}

int64_t TrainingData::tokens() const {
  int64_t tokens = 0;
  for (const LanguageData& language : languages_) tokens += language.tokens();
  return tokens;
}

}  // namespace fern
