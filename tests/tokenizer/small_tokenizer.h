// A tokenizer for tests, trained in well under a second on text in a handful of scripts.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/train.h"

namespace fern {

// Gives the texts one by one.
inline std::function<std::optional<std::string>()> each_of(const std::vector<std::string>& texts) {
  return [&texts, i = size_t{0}]() mutable -> std::optional<std::string> {
    if (i == texts.size()) return std::nullopt;
    return texts[i++];
  };
}

inline std::vector<std::string> small_corpus() {
  const std::vector<std::string> sentences = {"Open the file and save it under another name.",
                                              "Fungua faili kisha uihifadhi kwa jina jingine.",
                                              "Buɗe fayil ɗin ka adana shi da wani suna.",
                                              "ፋይሉን ይክፈቱ እና በሌላ ስም ያስቀምጡት።",
                                              "فایل را باز کنید و با نامی دیگر ذخیره کنید.",
                                              "फ़ाइल खोलें और दूसरे नाम से सहेजें।",
                                              "ෆයිලය විවෘත කර වෙනත් නමකින් සුරකින්න."};
  std::vector<std::string> corpus;
  for (int i = 0; i < 60; ++i)
    corpus.push_back(sentences[i % sentences.size()] + " " + std::to_string(i * 37));
  return corpus;
}

inline std::filesystem::path small_tokenizer(const std::filesystem::path& folder, int64_t vocabulary = 520) {
  const std::filesystem::path model = folder / "small.model";
  const std::vector<std::string> corpus = small_corpus();
  train_tokenizer(model, each_of(corpus), {.vocabulary = vocabulary});
  return model;
}

}  // namespace fern
