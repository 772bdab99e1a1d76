#include "data_tools/prepare_report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "data_tools/prepared_folder.h"
#include "framework/checkpoint/layout.h"

namespace fern {
namespace {

using nlohmann::json;

struct SplitTotals {
  SplitReport sum;
  int64_t languages = 0;
};

SplitTotals totals_of(const std::vector<LanguageReport>& reports, int split) {
  SplitTotals totals;
  for (const LanguageReport& report : reports) {
    const SplitReport& part = report.splits[split];
    if (!report.left_out.empty()) continue;
    totals.languages += part.documents > 0;
    totals.sum.documents += part.documents;
    totals.sum.sequences += part.sequences;
    totals.sum.tokens += part.tokens;
    totals.sum.loss_tokens += part.loss_tokens;
    totals.sum.bytes += part.bytes;
    totals.sum.loss_bytes += part.loss_bytes;
    totals.sum.dropped += part.dropped;
  }
  return totals;
}

void say_splits(WorkProgress& progress, const std::vector<LanguageReport>& reports) {
  progress.say(fmt::format("{:<6} {:>9} {:>10} {:>10} {:>12} {:>12} {:>9}", "split", "languages", "examples",
                           "sequences", "tokens", "loss tokens", "too long"));
  for (int split = 0; split < kSplits; ++split) {
    const auto [sum, languages] = totals_of(reports, split);
    progress.say(fmt::format("{:<6} {:>9} {:>10} {:>10} {:>12} {:>12} {:>9}",
                             split_name(static_cast<Split>(split)), languages, sum.documents, sum.sequences,
                             sum.tokens, sum.loss_tokens, sum.dropped));
  }
}

void say_segments(WorkProgress& progress, const std::vector<LanguageReport>& reports) {
  CorpusCounts sum;
  for (const LanguageReport& report : reports) {
    sum.read += report.counts.read;
    sum.kept += report.counts.kept;
    sum.duplicate += report.counts.duplicate;
    sum.identical += report.counts.identical;
    sum.wordless += report.counts.wordless;
    sum.over_cap += report.counts.over_cap;
  }
  progress.say(
      fmt::format("segments: {} read, {} kept; {} said twice, {} equal to their English, {} without words, "
                  "{} beyond data.max_segments",
                  sum.read, sum.kept, sum.duplicate, sum.identical, sum.wordless, sum.over_cap));
}

void say_parity(WorkProgress& progress, const std::vector<LanguageReport>& reports) {
  std::vector<std::pair<double, std::string>> ratios;
  std::vector<double> values;
  for (const LanguageReport& report : reports) {
    if (!report.left_out.empty() || report.cost.pairs == 0) continue;
    ratios.emplace_back(report.cost.parity(), report.language);
    values.push_back(report.cost.parity());
  }
  if (ratios.empty()) return;
  std::sort(ratios.rbegin(), ratios.rend());
  std::vector<std::string> worst;
  for (size_t i = 0; i < std::min<size_t>(ratios.size(), 8); ++i)
    worst.push_back(fmt::format("{} {:.2f}", ratios[i].second, ratios[i].first));
  progress.say(
      fmt::format("parity (tokens for each English token): median {:.2f}, worst tenth {:.2f}; highest: {}",
                  ratios[ratios.size() / 2].first, worst_tenth(values), fmt::join(worst, ", ")));
}

// Reasons end in a figure of the language's own in brackets; languages are named together by the rest.
void say_left_out(WorkProgress& progress, const std::vector<LanguageReport>& reports) {
  std::map<std::string, std::vector<std::string>> by_reason;
  std::vector<std::string> unseen;
  for (const LanguageReport& report : reports) {
    const size_t figure = report.left_out.rfind(" (");
    if (!report.left_out.empty())
      by_reason[report.left_out.substr(0, figure)].push_back(
          report.language + (figure == std::string::npos ? "" : report.left_out.substr(figure)));
    else if (report.splits[static_cast<size_t>(Split::kValid)].documents == 0)
      unseen.push_back(report.language);
  }
  for (const auto& [reason, languages] : by_reason)
    progress.say(fmt::format("left out, {}: {}", reason, fmt::join(languages, ", ")));
  if (!unseen.empty())
    progress.say(
        fmt::format("trained on, but too small for the validation split: {}", fmt::join(unseen, ", ")));
}

}  // namespace

json prepare_manifest(const std::vector<LanguageReport>& reports, const Tokenizer& tokenizer) {
  json languages = json::object(), left_out = json::object(), totals;
  for (const LanguageReport& report : reports) {
    if (report.left_out.empty())
      languages[report.language] = report.to_json();
    else
      left_out[report.language] = report.left_out;
  }
  for (int split = 0; split < kSplits; ++split) {
    const auto [sum, count] = totals_of(reports, split);
    totals[split_name(static_cast<Split>(split))] = {
        {"languages", count},   {"documents", sum.documents},     {"sequences", sum.sequences},
        {"tokens", sum.tokens}, {"loss_tokens", sum.loss_tokens}, {"dropped", sum.dropped}};
  }
  return {{"tokenizer", {{"sha256", tokenizer.sha256()}, {"vocabulary", tokenizer.vocabulary()}}},
          {"languages", languages},
          {"left_out", left_out},
          {"totals", totals}};
}

void say_summary(WorkProgress& progress, const std::vector<LanguageReport>& reports,
                 const Tokenizer& tokenizer, const std::filesystem::path& folder) {
  say_left_out(progress, reports);
  say_segments(progress, reports);
  say_splits(progress, reports);
  say_parity(progress, reports);
  progress.say(fmt::format("prepared {}: {} ({} pieces), shards, and {} with every language's counts",
                           folder.string(), kTokenizerFile, tokenizer.vocabulary(), kPreparedFile));
}

}  // namespace fern
