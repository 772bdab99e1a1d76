// A small data folder of several languages, opened.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/data/loader.h"
#include "tests/framework/data/fixture.h"

namespace fern::testing_data {

// Writes folder/train with languages am (two shards), sw and yo, of random documents.
inline std::filesystem::path small_folder(const std::string& name, int64_t context = 16) {
  const auto folder = fresh_folder(name);
  const auto put = [&](const std::string& language, const std::string& source, int64_t documents,
                       uint64_t key) {
    write_shard(folder / "train" / (language + "." + source + ".h5"), header_for(language, context),
                random_documents(documents, context, key));
  };
  put("yo", "gettext", 30, 11);
  put("am", "mediawiki", 25, 12);
  put("am", "gettext", 5, 13);
  put("sw", "gettext", 60, 14);
  return folder;
}

// Languages, a sampler over them, and the means to make loaders.
struct SmallData {
  std::vector<LanguageData> languages;
  std::unique_ptr<Sampler> sampler;

  explicit SmallData(const std::string& name, int64_t batch = 12, int64_t context = 16)
      : languages(open_languages(small_folder(name, context), "train", std::string(64, 'a'), context)) {
    std::vector<int64_t> sequences;
    for (const LanguageData& language : languages) sequences.push_back(language.sequences());
    sampler = std::make_unique<Sampler>(3, std::vector<double>{0.5, 0.3, 0.2}, sequences, batch);
  }
  SmallData(std::vector<LanguageData> opened, const std::vector<double>& shares, int64_t batch)
      : languages(std::move(opened)) {
    std::vector<int64_t> sequences;
    for (const LanguageData& language : languages) sequences.push_back(language.sequences());
    sampler = std::make_unique<Sampler>(3, shares, sequences, batch);
  }
  Loader loader(int64_t micro_sequences, LossNormalization normalization = LossNormalization::kToken,
                int64_t context = 16) const {
    return Loader(languages, *sampler,
                  {.sequences = sampler->batch(), .micro_sequences = micro_sequences, .context = context},
                  normalization);
  }
};

}  // namespace fern::testing_data
