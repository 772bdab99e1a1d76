#include "data_tools/prepare.h"

#include <fmt/ranges.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "data_tools/examples.h"
#include "data_tools/language_name.h"
#include "data_tools/parallel_for.h"
#include "data_tools/prepare_language.h"
#include "data_tools/prepare_report.h"
#include "data_tools/prepare_settings.h"
#include "data_tools/prepared_folder.h"
#include "data_tools/tokenizer_text.h"
#include "framework/checkpoint/layout.h"
#include "framework/core/error.h"
#include "framework/core/hash.h"
#include "recipes/suggest.h"
#include "tokenizer/train.h"

namespace fern {
namespace {

// One run of prepare, stage by stage.
class Preparation {
 public:
  Preparation(const Recipe& recipe, LanguageFiles files, PreparedFolder& folder, WorkProgress& progress)
      : recipe_(recipe), files_(std::move(files)), folder_(folder), progress_(progress) {
    for (const auto& [language, paths] : files_) languages_.push_back(language);
    reports_.resize(languages_.size());
  }

  void run(const std::vector<Task>& tasks, const std::filesystem::path& given_tokenizer) {
    measure();
    const std::filesystem::path model = folder_.partial() / kTokenizerFile;
    if (!given_tokenizer.empty())
      std::filesystem::copy_file(given_tokenizer, model, std::filesystem::copy_options::overwrite_existing);
    else if (!std::filesystem::exists(model))
      train(model, tasks);
    const Tokenizer tokenizer(model);
    write_shards(tokenizer, tasks);
    expect_some("no language has an example to train on");
    folder_.finish(prepare_manifest(reports_, tokenizer));
    say_summary(progress_, reports_, tokenizer, folder_.path());
  }

 private:
  // Reads every language once, to know how much text there is and which languages have too little.
  void measure() {
    each_language("reading segments", [&](size_t i) {
      const Corpus corpus = read(i);
      LanguageReport& report = reports_[i];
      report.language = corpus.language;
      report.name = language_name(corpus.language);
      report.counts = corpus.counts;
      if (corpus.counts.kept < recipe_.data.min_segments) {
        report.left_out = fmt::format("fewer than data.min_segments = {} distinct segments ({})",
                                      recipe_.data.min_segments, corpus.counts.kept);
        return;
      }
      const std::lock_guard lock(mutex_);
      sizes_.add(corpus);
    });
    expect_some("no language has enough text");
    const auto held_out = [](const auto& language) { return language.second == 0; };
    expect(
        !std::ranges::all_of(sizes_.bytes, held_out),
        "data.segments: every segment falls to validation or test, and none is left to train on; give more "
        "text, or lower data.valid_percent and data.test_percent");
  }

  void train(const std::filesystem::path& model, const std::vector<Task>& tasks) {
    std::vector<std::string> texts = tokenizer_texts();
    for (const LanguageReport& report : reports_) {
      if (report.left_out.empty())
        std::ranges::move(bare_prompts(tasks, report.name), std::back_inserter(texts));
    }
    progress_.say(fmt::format("training the tokenizer: {} pieces from {} texts", recipe_.tokenizer.vocabulary,
                              texts.size()));
    size_t next = 0;
    train_tokenizer(
        model,
        [&]() -> std::optional<std::string> {
          return next < texts.size() ? std::optional(texts[next++]) : std::nullopt;
        },
        recipe_.tokenizer);
  }

  std::vector<std::string> tokenizer_texts() {
    const auto budget = tokenizer_budget(sizes_, recipe_.data.balance, recipe_.data.weight_languages,
                                         recipe_.data.tokenizer_mb * 1000000);
    const double english_share =
        budget.at(kEnglishSource) / std::max(1.0, static_cast<double>(sizes_.english_bytes()));
    std::vector<std::vector<std::string>> drawn(languages_.size());
    std::map<uint64_t, std::string> english;  // by key, so that order and content do not depend on threads
    each_language("drawing text for the tokenizer", [&](size_t i) {
      if (!reports_[i].left_out.empty()) return;
      const Corpus corpus = read(i);
      drawn[i] = draw_text(corpus, budget.at(corpus.language));
      const std::lock_guard lock(mutex_);
      for (auto& [key, text] : draw_english(corpus, english_share)) {
        const auto [at, fresh] = english.try_emplace(key, text);
        if (!fresh) at->second = std::min(at->second, text);
      }
    });
    std::vector<std::string> texts;
    for (double copies = std::max(1.0, english_share); copies >= 1; --copies)
      for (const auto& [key, text] : english) texts.push_back(text);
    for (auto& language : drawn) std::move(language.begin(), language.end(), std::back_inserter(texts));
    return texts;
  }

  void write_shards(const Tokenizer& tokenizer, const std::vector<Task>& tasks) {
    std::mutex writing;
    const LanguageJob job{.tokenizer = tokenizer,
                          .tasks = tasks,
                          .kind = recipe_.data.kind,
                          .context = recipe_.model.context,
                          .folder = folder_.partial(),
                          .writing = writing};
    each_language("writing shards", [&](size_t i) {
      if (!reports_[i].left_out.empty()) return;
      const std::string& language = languages_[i];
      if (const auto kept = folder_.report_of(language)) {
        reports_[i] = LanguageReport::from_json(language, *kept);
        return;
      }
      reports_[i] = prepare_language(read(i), job);
      folder_.keep_report(language, reports_[i].to_json());
    });
  }

  Corpus read(size_t i) const {
    return read_corpus(languages_[i], files_.at(languages_[i]),
                       {.max_segments = recipe_.data.max_segments,
                        .valid_percent = recipe_.data.valid_percent,
                        .test_percent = recipe_.data.test_percent});
  }

  // The largest files first, so that no thread is left with one at the end.
  template <typename Work>
  void each_language(const std::string& label, const Work& work) {
    std::vector<std::pair<uintmax_t, size_t>> order;
    for (size_t i = 0; i < languages_.size(); ++i) {
      uintmax_t bytes = 0;
      for (const SegmentFile& file : files_.at(languages_[i])) bytes += std::filesystem::file_size(file.path);
      order.emplace_back(bytes, i);
    }
    std::sort(order.rbegin(), order.rend());
    std::atomic<int64_t> done = 0;
    const auto total = static_cast<int64_t>(order.size());
    const int threads = recipe_.threads > 0 ? static_cast<int>(recipe_.threads) : omp_get_max_threads();
    parallel_for(total, threads, [&](int64_t i) {
      work(order[i].second);
      progress_.advance(label, ++done, total);
    });
  }

  void expect_some(const std::string& what) const {
    const auto taking_part = [](const LanguageReport& report) { return report.left_out.empty(); };
    if (std::any_of(reports_.begin(), reports_.end(), taking_part)) return;
    const LanguageReport& nearest =
        *std::max_element(reports_.begin(), reports_.end(),
                          [](const auto& a, const auto& b) { return a.counts.kept < b.counts.kept; });
    fail("data.segments: {}. The nearest is {} ({}): {}", what, nearest.language, nearest.name,
         nearest.left_out);
  }

  const Recipe& recipe_;
  const LanguageFiles files_;
  PreparedFolder& folder_;
  WorkProgress& progress_;
  std::vector<std::string> languages_;
  std::vector<LanguageReport> reports_;  // in the order of languages_
  TextSizes sizes_;
  std::mutex mutex_;
};

// Keeps the languages that the recipe names.
LanguageFiles chosen(LanguageFiles files, const std::vector<std::string>& names) {
  if (names.empty()) return files;
  std::vector<std::string_view> there;
  for (const auto& [language, paths] : files) there.push_back(language);
  LanguageFiles kept;
  for (const std::string& name : names) {
    if (!files.contains(name))
      fail_usage("data.languages: no segments in {}{}; data.segments has {}", name, did_you_mean(name, there),
                 fmt::join(there, ", "));
    kept[name] = files[name];
  }
  return kept;
}

}  // namespace

void prepare(const Recipe& recipe, WorkProgress& progress, const std::filesystem::path& tokenizer_model) {
  const bool instruct = recipe.data.kind == DataKind::kInstruct;
  const std::vector<Task> tasks = instruct ? read_tasks(recipe.templates_folder()) : std::vector<Task>();
  LanguageFiles files = chosen(find_segment_files(recipe.data.segments), recipe.data.languages);
  nlohmann::json settings = prepare_settings(recipe, files);
  if (!tokenizer_model.empty()) settings["given_tokenizer"] = sha256_of_file(tokenizer_model);
  PreparedFolder folder(recipe.data.folder, settings);
  if (folder.done()) {
    progress.say(
        fmt::format("{} is already prepared with these settings: nothing to do", folder.path().string()));
    return;
  }
  if (const std::string changes = folder.changes(); !changes.empty())
    progress.say(fmt::format("{} was prepared with other settings ({}): making it again",
                             folder.path().string(), changes));
  if (folder.begin()) progress.say("going on where an interrupted run stopped");
  Preparation(recipe, std::move(files), folder, progress).run(tasks, tokenizer_model);
}

}  // namespace fern
