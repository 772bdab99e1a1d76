// One language's text, ready for examples: distinct, worth learning from, capped and split.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data_tools/segment_files.h"
#include "data_tools/split.h"

namespace fern {

struct CorpusOptions {
  int64_t max_segments = 0;  // 0: all
  double valid_percent = 2, test_percent = 2;
};

struct CorpusSegment {
  Segment segment;
  uint64_t key = 0;  // of the normalised English (of the text where there is none): decides the split
  uint64_t id = 0;   // of language, English and text: what random draws for this segment are keyed by
  Split split = Split::kTrain;
  std::string source;
};

// What became of the segments read: read = kept + all the others.
struct CorpusCounts {
  int64_t read = 0, kept = 0;
  int64_t duplicate = 0;  // the same English and text, but for case and punctuation
  int64_t identical = 0;  // text equal to its English, but for names of countries and languages
  int64_t wordless = 0;   // nothing but placeholders, digits and punctuation
  int64_t over_cap = 0;   // beyond max_segments, chosen by hash
};

struct Corpus {
  std::string language;
  std::vector<CorpusSegment> segments;  // in the order of the files
  CorpusCounts counts;
};

// Errors: a file that cannot be read, is not such JSONL or not UTF-8 (with line), or holds another language.
Corpus read_corpus(const std::string& language, const std::vector<SegmentFile>& files,
                   const CorpusOptions& options);

// True when letters are left once placeholders (%s, %(name)d, {0}, $1, @name@) are taken out.
bool has_words(std::string_view text);

}  // namespace fern
