#include "data_tools/prepare_language.h"

namespace fern {
namespace {

using nlohmann::json;

json to_json_counts(const CorpusCounts& counts) {
  return {{"read", counts.read},           {"kept", counts.kept},         {"duplicate", counts.duplicate},
          {"identical", counts.identical}, {"wordless", counts.wordless}, {"over_cap", counts.over_cap}};
}

CorpusCounts counts_from(const json& json) {
  return {.read = json.at("read"),
          .kept = json.at("kept"),
          .duplicate = json.at("duplicate"),
          .identical = json.at("identical"),
          .wordless = json.at("wordless"),
          .over_cap = json.at("over_cap")};
}

json to_json_split(const SplitReport& split) {
  return {{"documents", split.documents}, {"sequences", split.sequences},
          {"tokens", split.tokens},       {"loss_tokens", split.loss_tokens},
          {"bytes", split.bytes},         {"loss_bytes", split.loss_bytes},
          {"dropped", split.dropped}};
}

SplitReport split_from(const json& json) {
  return {.documents = json.at("documents"),
          .sequences = json.at("sequences"),
          .tokens = json.at("tokens"),
          .loss_tokens = json.at("loss_tokens"),
          .bytes = json.at("bytes"),
          .loss_bytes = json.at("loss_bytes"),
          .dropped = json.at("dropped")};
}

json to_json_cost(const TextCost& cost) {
  return {{"pairs", cost.pairs},          {"tokens", cost.tokens}, {"english_tokens", cost.english_tokens},
          {"words", cost.words},          {"bytes", cost.bytes},   {"parity", cost.parity()},
          {"fertility", cost.fertility()}};
}

TextCost cost_from(const json& json) {
  return {.pairs = json.at("pairs"),
          .tokens = json.at("tokens"),
          .english_tokens = json.at("english_tokens"),
          .words = json.at("words"),
          .bytes = json.at("bytes")};
}

}  // namespace

json LanguageReport::to_json() const {
  json out{{"name", name},
           {"segments", to_json_counts(counts)},
           {"no_task", no_task},
           {"cost", to_json_cost(cost)},
           {"shards", shards}};
  if (!left_out.empty()) out["left_out"] = left_out;
  for (int split = 0; split < kSplits; ++split)
    out["splits"][split_name(static_cast<Split>(split))] = to_json_split(splits[split]);
  return out;
}

LanguageReport LanguageReport::from_json(const std::string& language, const json& json) {
  LanguageReport report{.language = language,
                        .name = json.at("name"),
                        .left_out = json.value("left_out", ""),
                        .counts = counts_from(json.at("segments")),
                        .no_task = json.at("no_task"),
                        .splits = {},
                        .cost = cost_from(json.at("cost")),
                        .shards = json.at("shards")};
  for (int split = 0; split < kSplits; ++split)
    report.splits[split] = split_from(json.at("splits").at(split_name(static_cast<Split>(split))));
  return report;
}

}  // namespace fern
