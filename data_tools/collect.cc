#include "data_tools/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "data_tools/collect_language.h"
#include "data_tools/collect_manifest.h"
#include "data_tools/collect_piece.h"
#include "data_tools/language_code.h"
#include "framework/core/error.h"
#include "framework/core/file_lock.h"
#include "framework/core/files.h"
#include "framework/core/hash.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// Changes when the same sources would give another collection.
constexpr const char* kRulesVersion = "1";

using PiecesByLanguage = std::map<std::string, std::vector<NumberedPiece>>;

std::set<std::string> wanted_languages(const CollectOptions& options) {
  std::set<std::string> wanted;
  for (const std::string& code : options.languages) {
    const auto tag = normalise_language(code);
    if (!tag)
      fail_usage("--languages: \"{}\" is not a language code; expected BCP 47, such as sw or zh-Hant", code);
    wanted.insert(*tag);
  }
  return wanted;
}

std::vector<Source> open_sources(const CollectOptions& options) {
  std::vector<Source> sources;
  for (const std::string& argument : options.sources) sources.push_back(open_source(argument));
  return sources;
}

// Files count by path, size and time of change: reading them all would cost as much as collecting.
std::string fingerprint_of(const CollectOptions& options, const std::vector<Source>& sources) {
  Xxh128 hash;
  const auto add = [&](const std::string& text) { hash.update(text.c_str(), text.size() + 1); };
  add(kRulesVersion);
  for (const std::string& language : wanted_languages(options)) add(language);
  add(fmt::format("{} {}", options.max_per_language, options.licence));
  for (size_t i = 0; i < sources.size(); ++i) {
    add(options.sources[i]);
    for (const SourceFile& file : sources[i].files)
      add(fmt::format("{} {} {} {}", file.path.string(), file.code, fs::file_size(file.path),
                      fs::last_write_time(file.path).time_since_epoch().count()));
  }
  return hash.hex();
}

// Whether `out` may be replaced: absent, empty, or a collection.
void expect_replaceable(const fs::path& out) {
  if (!fs::exists(out)) return;
  const bool empty = fs::is_directory(out) && fs::is_empty(out);
  if (!empty && fingerprint_of_collection(out).empty())
    fail_usage("--out {}: exists and is not a collection; name another folder, or remove it", out.string());
}

void write_origins(const std::vector<Origin>& origins, const fs::path& file) {
  std::ofstream out(file, std::ios::binary);
  for (const Origin& origin : origins) out << to_json_line(origin) << '\n';
  out.close();
  if (!out) fail_errno(file.string() + ": cannot be written");
}

class Collector {
 public:
  Collector(const CollectOptions& options, const std::function<void(const CollectProgress&)>& progress)
      : options_(options), progress_(progress), wanted_(wanted_languages(options)) {
    fs::path out = options.out.lexically_normal();
    if (!out.has_filename()) out = out.parent_path();
    out_ = out;
    aside_ = out.string() + ".partial";
  }

  CollectOutcome run() {
    expect_replaceable(out_);
    const std::vector<Source> sources = open_sources(options_);
    manifest_.fingerprint = fingerprint_of(options_, sources);
    if (fingerprint_of_collection(out_) == manifest_.fingerprint) return CollectOutcome::kUpToDate;
    create_folders(aside_);
    const FileLock lock(lock_file_beside(out_), out_.string() +
                                                    ": another fern collect is at work on this folder; wait "
                                                    "for it, stop it, or name another --out");
    remove_tree(aside_);
    create_folders(aside_ / "segments");
    PackageIndex packages;
    for (const Source& source : sources) add_pieces(open_pieces(source, packages, options_.licence));
    collect_languages(group_pieces());
    expect_text();
    write_origins(manifest_.origins, aside_ / "origins.jsonl");
    write_manifest(manifest_, aside_);
    remove_tree(out_);
    rename_durably(aside_, out_);
    return CollectOutcome::kWritten;
  }

 private:
  void add_pieces(Pieces pieces) {
    for (const auto& [code, count] : pieces.refused) manifest_.refused_codes[code] += count;
    for (Piece& piece : pieces.pieces)
      if (wanted_.empty() || wanted_.contains(piece.language)) pieces_.push_back(std::move(piece));
  }

  PiecesByLanguage group_pieces() {
    PiecesByLanguage groups;
    for (const Piece& piece : pieces_) {
      groups[piece.language].push_back({&piece, static_cast<int64_t>(manifest_.origins.size())});
      manifest_.origins.push_back(piece.origin);
    }
    for (const std::string& language : wanted_)
      if (!groups.contains(language)) manifest_.warnings.push_back("no text in language " + language);
    return groups;
  }

  // Largest first, so that no thread is left with a large one at the end.
  static std::vector<PiecesByLanguage::const_iterator> by_size(const PiecesByLanguage& groups) {
    std::vector<std::pair<int64_t, PiecesByLanguage::const_iterator>> sizes;
    for (auto group = groups.begin(); group != groups.end(); ++group) {
      int64_t bytes = 0;
      for (const NumberedPiece& numbered : group->second) bytes += numbered.piece->bytes;
      sizes.emplace_back(-bytes, group);
    }
    std::stable_sort(sizes.begin(), sizes.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<PiecesByLanguage::const_iterator> order;
    for (const auto& size : sizes) order.push_back(size.second);
    return order;
  }

  void collect_languages(const PiecesByLanguage& groups) {
    const auto order = by_size(groups);
    for (const auto& [language, pieces] : groups) manifest_.languages[language] = {};
    total_ = static_cast<int64_t>(order.size());
    const auto work = [&] {
      for (size_t i = next_++; i < order.size() && !failed_; i = next_++) collect_one(*order[i]);
    };
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::jthread> threads(options_.threads > 0 ? static_cast<unsigned>(options_.threads) : cores);
    for (std::jthread& thread : threads) thread = std::jthread(work);
    for (std::jthread& thread : threads) thread.join();
    // The first in the order of languages, whichever thread came first.
    if (!errors_.empty()) std::rethrow_exception(errors_.begin()->second);
  }

  void collect_one(const PiecesByLanguage::value_type& group) {
    const auto& [language, pieces] = group;
    try {
      LanguageResult result =
          collect_language(pieces, options_.max_per_language, aside_ / "segments" / (language + ".jsonl"));
      const std::lock_guard lock(mutex_);
      segments_ += result.segments;
      manifest_.languages[language] = std::move(result);
      progress_({.languages_done = ++done_, .languages = total_, .segments = segments_});
    } catch (...) {
      const std::lock_guard lock(mutex_);
      errors_.emplace(language, std::current_exception());
      failed_ = true;
    }
  }

  void expect_text() {
    if (segments_ > 0) return;
    remove_tree(aside_);
    int64_t dropped = 0;
    for (const auto& [language, result] : manifest_.languages)
      for (const int64_t count : result.dropped) dropped += count;
    fail(
        "nothing collected: the sources hold {} files of known languages, and cleaning left out all of their "
        "{} "
        "segments",
        pieces_.size(), dropped);
  }

  const CollectOptions& options_;
  const std::function<void(const CollectProgress&)>& progress_;
  std::set<std::string> wanted_;
  fs::path out_, aside_;
  std::vector<Piece> pieces_;
  CollectManifest manifest_;
  std::mutex mutex_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::map<std::string, std::exception_ptr> errors_;
  int64_t total_ = 0;
  int64_t done_ = 0;
  int64_t segments_ = 0;
};

}  // namespace

CollectOutcome collect(const CollectOptions& options,
                       const std::function<void(const CollectProgress&)>& progress) {
  if (options.sources.empty())
    fail_usage("expected at least one SOURCE; `fern help collect` lists the kinds");
  return Collector(options, progress).run();
}

}  // namespace fern
