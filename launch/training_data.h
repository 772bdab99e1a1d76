// What `fern prepare` made, opened for training: tokenizer, shards, sampler and loader.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/data/loader.h"
#include "framework/data/sampler.h"
#include "recipes/recipe.h"
#include "tokenizer/tokenizer.h"

namespace fern {

class TrainingData {
 public:
  // Errors: data.folder is not prepared, with another tokenizer, other settings or a larger context; nothing
  // to draw.
  explicit TrainingData(const Recipe& recipe);
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;

  static bool is_prepared(const Recipe& recipe);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::vector<LanguageData>& languages() const { return languages_; }
  const std::vector<std::string>& names() const { return names_; }
  const Sampler& sampler() const { return sampler_; }
  const Loader& loader() const { return loader_; }
  int64_t tokens() const;
  // Reads this process's share of the shards against their hashes, as the `part`-th of `parts` on a machine.
  // Errors: the shard and the dataset that is damaged.
  void verify(int64_t part, int64_t parts) const { verify_shards(languages_, part, parts); }

 private:
  Tokenizer tokenizer_;
  std::vector<LanguageData> languages_;
  std::vector<std::string> names_;
  Sampler sampler_;
  Loader loader_;
};

}  // namespace fern
