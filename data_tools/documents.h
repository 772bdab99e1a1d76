// From examples and running text to the documents that shards hold.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data_tools/examples.h"
#include "framework/data/shard.h"
#include "tokenizer/tokenizer.h"

namespace fern {

// The chat of one example. Its text is the prompt followed at once by the completion, whose length is
// loss_bytes: the prompt is the text without its last loss_bytes bytes.
Document instruct_document(const Tokenizer& tokenizer, const Example& example);

// <s> text </s> with a target everywhere but on <s>. A text that needs more than `context` tokens is cut
// between characters, at token boundaries, into pieces that each begin with <s>; the last ends with </s>. The
// pieces' texts make up the text. REQUIRES context >= 8, so that a character in bytes always fits.
std::vector<Document> pretrain_documents(const Tokenizer& tokenizer, std::string_view text, int64_t context);

}  // namespace fern
