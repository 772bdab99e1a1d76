#include "data_tools/prepare_language.h"

#include <algorithm>
#include <map>

#include "data_tools/documents.h"
#include "data_tools/language_name.h"
#include "framework/data/shard.h"

namespace fern {
namespace {

constexpr int64_t kParityPairs = 200;  // enough for two digits, few enough to cost nothing

std::string file_name(const std::string& language, std::string source) {
  std::replace_if(
      source.begin(), source.end(), [](unsigned char c) { return !std::isalnum(c); }, '-');
  return language + "." + source + ".h5";
}

// Makes the documents of a language and hands them to their shards.
class LanguageWriter {
 public:
  LanguageWriter(const Corpus& corpus, const LanguageJob& job, LanguageReport& report)
      : corpus_(corpus), job_(job), report_(report), maker_(job.tasks, corpus) {}

  void add(size_t index) {
    const CorpusSegment& segment = corpus_.segments[index];
    if (job_.kind == DataKind::kInstruct) {
      add_example(index);
    } else {
      for (Document& piece : pretrain_documents(job_.tokenizer, segment.segment.text, job_.context))
        store(segment, std::move(piece));
    }
  }

  void finish() {
    if (report_.splits[0].documents == 0) {
      report_.left_out = reason();
      return;
    }
    const std::lock_guard lock(job_.writing);
    for (auto& [key, writer] : writers_) finish_shard(key.first, key.second, writer);
  }

 private:
  void add_example(size_t index) {
    const CorpusSegment& segment = corpus_.segments[index];
    auto example = maker_.make(index);
    if (!example) {
      ++report_.no_task;
      return;
    }
    Document document = instruct_document(job_.tokenizer, *example);
    if (too_long(document) && (example = maker_.make(index, Shots::kNone)))
      document = instruct_document(job_.tokenizer, *example);
    if (too_long(document)) {
      ++split_report(segment).dropped;
      const auto tokens = static_cast<int64_t>(document.tokens.size());
      shortest_dropped_ = shortest_dropped_ == 0 ? tokens : std::min(shortest_dropped_, tokens);
      return;
    }
    store(segment, std::move(document));
  }

  bool too_long(const Document& document) const {
    return static_cast<int64_t>(document.tokens.size()) > job_.context;
  }

  SplitReport& split_report(const CorpusSegment& segment) {
    return report_.splits[static_cast<size_t>(segment.split)];
  }

  void store(const CorpusSegment& segment, Document document) {
    ++split_report(segment).documents;
    writer(segment).add(std::move(document));
  }

  ShardWriter& writer(const CorpusSegment& segment) {
    const auto key = std::pair(segment.split, segment.source);
    const auto found = writers_.find(key);
    if (found != writers_.end()) return found->second;
    ShardHeader header{.language = corpus_.language,
                       .source = segment.source,
                       .split = std::string(split_name(segment.split)),
                       .tokenizer_sha256 = job_.tokenizer.sha256(),
                       .vocabulary = job_.tokenizer.vocabulary(),
                       .context = job_.context};
    return writers_.try_emplace(key, job_.folder / shard_path(segment.split, segment.source), header)
        .first->second;
  }

  std::string shard_path(Split split, const std::string& source) const {
    return std::string(split_name(split)) + "/" + file_name(corpus_.language, source);
  }

  void finish_shard(Split split, const std::string& source, ShardWriter& writer) {
    writer.finish();
    report_.shards.push_back(shard_path(split, source));
    const Shard shard(job_.folder / report_.shards.back());
    SplitReport& totals = report_.splits[static_cast<size_t>(split)];
    totals.sequences += shard.sequences();
    totals.tokens += shard.tokens();
    totals.loss_tokens += shard.loss_tokens();
    totals.bytes += shard.bytes();
    totals.loss_bytes += shard.loss_bytes();
  }

  std::string reason() const {
    if (shortest_dropped_ > 0)
      return fmt::format("no example fits model.context = {} (the shortest takes {})", job_.context,
                         shortest_dropped_);
    if (report_.no_task > 0) return "no task fits its segments";
    return "no text in the training split";
  }

  const Corpus& corpus_;
  const LanguageJob& job_;
  LanguageReport& report_;
  ExampleMaker maker_;
  std::map<std::pair<Split, std::string>, ShardWriter> writers_;
  int64_t shortest_dropped_ = 0;
};

// Held-out pairs first: they are what evaluation will see.
void measure_cost(LanguageReport& report, const Corpus& corpus, const Tokenizer& tokenizer) {
  for (const bool held_out : {true, false}) {
    for (const CorpusSegment& segment : corpus.segments) {
      if (report.cost.pairs == kParityPairs) return;
      if (segment.segment.english.empty() || (segment.split != Split::kTrain) != held_out) continue;
      add_pair(report.cost, tokenizer, segment.segment.text, segment.segment.english);
    }
  }
}

}  // namespace

LanguageReport prepare_language(const Corpus& corpus, const LanguageJob& job) {
  LanguageReport report{.language = corpus.language,
                        .name = language_name(corpus.language),
                        .left_out = {},
                        .counts = corpus.counts,
                        .splits = {},
                        .cost = {},
                        .shards = {}};
  LanguageWriter writer(corpus, job, report);
  for (size_t i = 0; i < corpus.segments.size(); ++i) writer.add(i);
  writer.finish();
  measure_cost(report, corpus, job.tokenizer);
  return report;
}

}  // namespace fern
