// The tokenizer's part of a Hugging Face folder: tokenizer.model, tokenizer_config.json (LlamaTokenizer with
// the chat template) and special_tokens_map.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace fern {

// Ids that end a generation: the end of a turn, and of a text.
std::vector<int32_t> stop_ids(const Tokenizer& tokenizer);

// Writes the three files into an existing folder. `context` is the model's. Errors: not writable, disk full.
void write_hugging_face_tokenizer(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                                  int64_t context);

}  // namespace fern
