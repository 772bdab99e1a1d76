#include "data_tools/corpus.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <unordered_set>

#include "framework/core/error.h"
#include "framework/core/hash.h"
#include "framework/core/rng.h"

namespace fern {
namespace {

bool ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool name_character(char c) { return ascii_letter(c) || (c >= '0' && c <= '9') || c == '_'; }

size_t past(std::string_view text, size_t at, char close) {
  const size_t end = text.find(close, at);
  return end == text.npos ? at : end + 1;
}

// printf's: flags, width and length letters, then the conversion.
size_t past_percent(std::string_view text, size_t at) {
  if (at < text.size() && text[at] == '(') at = past(text, at, ')');
  while (at < text.size() && std::string_view("-+ #0123456789.*$'hlLqjzt").find(text[at]) != text.npos) ++at;
  return at < text.size() && ascii_letter(text[at]) ? at + 1 : at;
}

// Where a placeholder that begins at `at` ends; `at` itself when none does.
size_t placeholder_end(std::string_view text, size_t at) {
  switch (text[at]) {
    case '%':
      return past_percent(text, at + 1);
    case '{':
      return past(text, at, '}');
    case '$': {
      size_t end = at + 1;
      while (end < text.size() && name_character(text[end])) ++end;
      return end;
    }
    case '@': {
      size_t end = at + 1;
      while (end < text.size() && name_character(text[end])) ++end;
      return end < text.size() && end > at + 1 && text[end] == '@' ? end + 1 : at;
    }
    default:
      return at;
  }
}

// Keeps `most` segments, those with the smallest keyed hash, in their order.
void cap(Corpus& corpus, int64_t most) {
  const auto size = static_cast<int64_t>(corpus.segments.size());
  if (most == 0 || size <= most) return;
  const auto rank = [](const CorpusSegment& s) { return random_bits(0, Purpose::kSplit, s.id, 1); };
  std::vector<std::pair<std::array<uint32_t, 4>, int64_t>> order;
  for (int64_t i = 0; i < size; ++i) order.emplace_back(rank(corpus.segments[i]), i);
  std::nth_element(order.begin(), order.begin() + most, order.end());
  order.resize(most);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<CorpusSegment> kept;
  for (const auto& [hash, index] : order) kept.push_back(std::move(corpus.segments[index]));
  corpus.segments = std::move(kept);
  corpus.counts.over_cap = size - most;
}

// Many names are the same in both languages, and that is worth knowing.
bool is_name(SegmentKind kind) { return kind == SegmentKind::kCountry || kind == SegmentKind::kLanguage; }

class CorpusReader {
 public:
  CorpusReader(Corpus& corpus, const CorpusOptions& options) : corpus_(corpus), options_(options) {}

  void take(Segment segment, const SegmentFile& file) {
    ++corpus_.counts.read;
    expect(segment.language == corpus_.language,
           "{}: expected segments in {} only, found one in {}; give the file to fern collect, which sorts by "
           "language",
           file.path.string(), corpus_.language, segment.language);
    const std::string text = normalised(segment.text);
    const std::string english = segment.english.empty() ? std::string() : normalised(segment.english);
    if (!has_words(segment.text)) {
      ++corpus_.counts.wordless;
    } else if (text == english && !is_name(segment.kind)) {
      ++corpus_.counts.identical;
    } else {
      keep(std::move(segment), text, english, file);
    }
  }

 private:
  void keep(Segment segment, const std::string& text, const std::string& english, const SegmentFile& file) {
    const uint64_t id = xxh64(corpus_.language + '\n' + english + '\n' + text);
    if (!seen_.insert(id).second) {
      ++corpus_.counts.duplicate;
      return;
    }
    const uint64_t key = xxh64(english.empty() ? text : english);
    const std::string& source = file.source_of(segment);
    corpus_.segments.push_back({.segment = std::move(segment),
                                .key = key,
                                .id = id,
                                .split = split_of(key, options_.valid_percent, options_.test_percent),
                                .source = source});
  }

  Corpus& corpus_;
  const CorpusOptions& options_;
  std::unordered_set<uint64_t> seen_;
};

}  // namespace

bool has_words(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = placeholder_end(text, at);
    if (end > at) {
      at = end;
      continue;
    }
    UChar32 character = 0;
    U8_NEXT(text.data(), at, text.size(), character);
    if (character >= 0 && u_isalpha(character)) return true;
  }
  return false;
}

Corpus read_corpus(const std::string& language, const std::vector<SegmentFile>& files,
                   const CorpusOptions& options) {
  Corpus corpus{.language = language, .segments = {}, .counts = {}};
  CorpusReader reader(corpus, options);
  for (const SegmentFile& file : files) {
    read_segments(file.path, [&](Segment segment) { reader.take(std::move(segment), file); });
  }
  cap(corpus, options.max_segments);
  corpus.counts.kept = static_cast<int64_t>(corpus.segments.size());
  return corpus;
}

}  // namespace fern
