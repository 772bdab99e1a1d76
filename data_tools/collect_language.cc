#include "data_tools/collect_language.h"

#include <algorithm>
#include <fstream>
#include <unordered_set>
#include <utility>

#include "data_tools/clean_characters.h"
#include "framework/core/error.h"
#include "framework/core/hash.h"

namespace fern {
namespace {

class LanguageCollector {
 public:
  explicit LanguageCollector(int64_t max_segments) : max_segments_(max_segments) {}

  void add(const NumberedPiece& numbered) {
    for (Segment& segment : read(*numbered.piece)) {
      segment.language = numbered.piece->language;
      segment.origin = numbered.origin;
      auto reason = clean(segment, numbered.piece->style);
      if (!reason && !seen_.insert(segment.english + '\n' + segment.text).second) reason = Drop::kDuplicate;
      if (reason)
        ++result_.dropped[static_cast<size_t>(*reason)];
      else
        kept_.push_back({std::move(segment), &numbered.piece->origin.source});
    }
  }

  LanguageResult write(const std::filesystem::path& file) {
    limit();
    if (kept_.empty()) return std::move(result_);
    std::ofstream out(file, std::ios::binary);
    for (const Kept& kept : kept_) {
      out << to_json_line(kept.segment) << '\n';
      ++result_.segments;
      ++result_.by_source[*kept.source];
      result_.characters += count_characters(kept.segment.text).all;
    }
    out.close();
    if (!out) fail_errno(file.string() + ": cannot be written");
    return std::move(result_);
  }

 private:
  struct Kept {
    Segment segment;
    const std::string* source;
  };

  std::vector<Segment> read(const Piece& piece) {
    if (!piece.may_be_broken) return piece.read();
    try {
      return piece.read();
    } catch (const Error& error) {
      result_.warnings.emplace_back(error.what());
      return {};
    }
  }

  // Keeps the segments whose source string has the smallest hash.
  void limit() {
    const auto count = static_cast<int64_t>(kept_.size());
    if (max_segments_ == 0 || count <= max_segments_) return;
    std::vector<std::pair<std::string, size_t>> ranks;
    for (size_t i = 0; i < kept_.size(); ++i) {
      const Segment& segment = kept_[i].segment;
      const std::string& key = segment.english.empty() ? segment.text : segment.english;
      ranks.emplace_back(xxh128_hex(key.data(), key.size()), i);
    }
    std::sort(ranks.begin(), ranks.end());
    ranks.resize(static_cast<size_t>(max_segments_));
    std::sort(ranks.begin(), ranks.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    std::vector<Kept> left;
    for (const auto& rank : ranks) left.push_back(std::move(kept_[rank.second]));
    result_.dropped[static_cast<size_t>(Drop::kOverLimit)] = count - max_segments_;
    kept_ = std::move(left);
  }

  int64_t max_segments_;
  std::vector<Kept> kept_;
  std::unordered_set<std::string> seen_;
  LanguageResult result_;
};

}  // namespace

LanguageResult collect_language(const std::vector<NumberedPiece>& pieces, int64_t max_segments,
                                const std::filesystem::path& file) {
  std::vector<NumberedPiece> ordered = pieces;
  std::stable_partition(ordered.begin(), ordered.end(), [](const NumberedPiece& numbered) {
    return numbered.piece->origin.source == "iso-codes";
  });
  LanguageCollector collector(max_segments);
  for (const NumberedPiece& numbered : ordered) collector.add(numbered);
  return collector.write(file);
}

}  // namespace fern
