#include "recipes/fields.h"

namespace fern {

namespace {

std::vector<Field> where_data_is() {
  return {
      {.key = "data.kind",
       .place = [](Recipe& r) -> Place { return choice(r.data.kind); },
       .meaning = "What an example is: instruct makes prompts and completions from templates, with loss on "
                  "completions; pretrain takes running text, with loss on all of it.",
       .names = {"instruct", "pretrain"}},
      {.key = "data.segments",
       .place = [](Recipe& r) -> Place { return &r.data.segments; },
       .meaning = "Collections made by `fern collect`, or JSONL files; relative to the working directory.",
       .may_change = true},
      {.key = "data.folder",
       .place = [](Recipe& r) -> Place { return &r.data.folder; },
       .meaning =
           "Where `fern prepare` writes the tokenizer and shards and `fern train` reads them; relative "
           "to the working directory.",
       .required = true,
       .may_change = true},
      {.key = "data.templates",
       .place = [](Recipe& r) -> Place { return &r.data.templates; },
       .meaning = "Folder of instruction templates, relative to the recipe file; instruct needs it.",
       .beside_file = true,
       .may_change = true},
  };
}

std::vector<Field> what_is_taken() {
  return {
      {.key = "data.languages",
       .place = [](Recipe& r) -> Place { return &r.data.languages; },
       .meaning = "BCP 47 codes of the languages to take, as [\"am\", \"sw\"]; empty: every language with "
                  "enough segments."},
      {.key = "data.min_segments",
       .place = [](Recipe& r) -> Place { return &r.data.min_segments; },
       .meaning = "Languages with fewer distinct segments are left out, and named.",
       .unit = "segments",
       .raising = "fewer languages, each with more text"},
      {.key = "data.max_segments",
       .place = [](Recipe& r) -> Place { return &r.data.max_segments; },
       .meaning = "Most segments taken of one language; 0 takes all.",
       .unit = "segments",
       .raising = "more text of the large languages, a longer `fern prepare`"},
      {.key = "data.valid_percent",
       .place = [](Recipe& r) -> Place { return &r.data.valid_percent; },
       .meaning = "Held out for validation, in percent of the English source strings.",
       .unit = "%",
       .raising = "steadier validation, less to train on",
       .most = 50},
      {.key = "data.test_percent",
       .place = [](Recipe& r) -> Place { return &r.data.test_percent; },
       .meaning = "Held out for the final test, in percent of the English source strings.",
       .unit = "%",
       .raising = "steadier test figures, less to train on",
       .most = 50},
      {.key = "data.tokenizer_mb",
       .place = [](Recipe& r) -> Place { return &r.data.tokenizer_mb; },
       .meaning = "Text that the tokenizer is trained on, drawn by the balance rule.",
       .unit = "MB",
       .raising = "better pieces; training the tokenizer takes longer and more memory",
       .least = 1,
       .most = 100000},
  };
}

std::vector<Field> balance_fields() {
  return {
      {.key = "data.balance.rule",
       .place = [](Recipe& r) -> Place { return choice(r.data.balance.kind); },
       .meaning = "How often each language is drawn: temperature (size^alpha), unimax (as even as max_epochs "
                  "allows) or weights (as the table says).",
       .names = {"temperature", "unimax", "weights"}},
      {.key = "data.balance.alpha",
       .place = [](Recipe& r) -> Place { return &r.data.balance.alpha; },
       .meaning = "Exponent of the temperature rule: 0 draws all languages alike, 1 by their size.",
       .raising = "large languages are drawn more often, small ones repeat less",
       .most = 1},
      {.key = "data.balance.max_epochs",
       .place = [](Recipe& r) -> Place { return &r.data.balance.max_epochs; },
       .meaning = "Most passes over any one language under the unimax rule.",
       .unit = "epochs",
       .raising = "small languages are drawn more often, and repeat more",
       .least = 0.001},
      {.key = "data.balance.weights",
       .place = [](Recipe& r) -> Place {
         return WeightsPlace{&r.data.weight_languages, &r.data.balance.weights};
       },
       .meaning = "Share of each language under the weights rule, as {am = 2, sw = 1}; languages not named "
                  "are not drawn."},
  };
}

}  // namespace

std::vector<Field> data_fields() {
  std::vector<Field> all = where_data_is();
  for (Field& field : what_is_taken()) all.push_back(std::move(field));
  for (Field& field : balance_fields()) all.push_back(std::move(field));
  return all;
}

}  // namespace fern
