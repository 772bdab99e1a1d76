#include "tokenizer/hugging_face.h"

#include <nlohmann/json.hpp>

#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace {

using nlohmann::json;

// What chat_tokens() spells, as the Jinja that tools read.
std::string chat_template() {
  return fmt::format(
      "{{{{ bos_token }}}}{{% for message in messages %}}"
      "{{% if message['role'] == 'user' %}}{{{{ '{0}' + message['content'] + '{2}' }}}}"
      "{{% elif message['role'] == 'assistant' %}}{{{{ '{1}' + message['content'] + '{2}' }}}}"
      "{{% endif %}}{{% endfor %}}"
      "{{% if add_generation_prompt %}}{{{{ '{1}' }}}}{{% endif %}}",
      kUserMarker, kAssistantMarker, kEndMarker);
}

json special_token(std::string_view content) {
  return {{"content", content}, {"lstrip", false},      {"normalized", false},
          {"rstrip", false},    {"single_word", false}, {"special", true}};
}

json config_of(const Tokenizer& tokenizer, int64_t context) {
  json added = json::object();
  for (int32_t id :
       {kUnknownId, kBosId, kEosId, tokenizer.user_id(), tokenizer.assistant_id(), tokenizer.end_id()})
    added[std::to_string(id)] = special_token(tokenizer.piece(id));
  return {{"tokenizer_class", "LlamaTokenizer"},
          {"added_tokens_decoder", added},
          {"additional_special_tokens", {kUserMarker, kAssistantMarker, kEndMarker}},
          {"unk_token", tokenizer.piece(kUnknownId)},
          {"bos_token", tokenizer.piece(kBosId)},
          {"eos_token", tokenizer.piece(kEosId)},
          {"add_bos_token", true},
          {"add_eos_token", false},
          {"add_prefix_space", true},
          {"legacy",
           true},  // each stretch between special tokens is text of its own, as chat_tokens() encodes it
          {"clean_up_tokenization_spaces", false},
          {"spaces_between_special_tokens", false},
          {"sp_model_kwargs", json::object()},
          {"model_max_length", context},
          {"chat_template", chat_template()}};
}

}  // namespace

std::vector<int32_t> stop_ids(const Tokenizer& tokenizer) { return {kEosId, tokenizer.end_id()}; }

void write_hugging_face_tokenizer(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                                  int64_t context) {
  copy_durably(tokenizer.path(), folder / "tokenizer.model");
  write_text_durably(folder / "tokenizer_config.json", config_of(tokenizer, context).dump(2) + "\n");
  const json specials = {{"unk_token", tokenizer.piece(kUnknownId)},
                         {"bos_token", tokenizer.piece(kBosId)},
                         {"eos_token", tokenizer.piece(kEosId)},
                         {"additional_special_tokens", {kUserMarker, kAssistantMarker, kEndMarker}}};
  write_text_durably(folder / "special_tokens_map.json", specials.dump(2) + "\n");
}

}  // namespace fern
