// Prints what the engine computes from an exported folder, for comparison with other tools.
//   probe tokens FOLDER < LINES      ids of each line, one line each
//   probe logits FOLDER PROMPT       {"tokens": [...], "logits": [[...], ...]} of the chat prompt
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>

#include "framework/checkpoint/hugging_face.h"
#include "framework/model/transformer.h"
#include "tokenizer/tokenizer.h"

namespace fern {
namespace {

void print_tokens(const Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);)
    fmt::print("{}\n", fmt::join(tokenizer.encode(line), " "));
}

void print_logits(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                  const std::string& prompt) {
  Transformer model(read_hugging_face_config(folder));
  const Arena arena =
      sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); });
  read_hugging_face_weights(folder, model.parameters());
  const std::vector<int32_t> tokens = chat_prompt(tokenizer, prompt);
  Stream stream;
  const std::vector<float> logits = model.logits(tokens, stream);
  const size_t vocabulary = logits.size() / tokens.size();
  nlohmann::json rows = nlohmann::json::array();
  for (size_t t = 0; t < tokens.size(); ++t)
    rows.push_back(std::vector<float>(&logits[t * vocabulary], &logits[t * vocabulary] + vocabulary));
  std::cout << nlohmann::json{{"tokens", tokens}, {"logits", rows}} << "\n";
}

int run(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  if (what != "tokens" && !(what == "logits" && argc == 4)) {
    std::fputs("usage: probe tokens FOLDER | probe logits FOLDER PROMPT\n", stderr);
    return 2;
  }
  const std::filesystem::path folder = argv[2];
  const Tokenizer tokenizer(folder / "tokenizer.model");
  if (what == "tokens")
    print_tokens(tokenizer);
  else
    print_logits(folder, tokenizer, argv[3]);
  return 0;
}

}  // namespace
}  // namespace fern

int main(int argc, char** argv) { return fern::run(argc, argv); }
