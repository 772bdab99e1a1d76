// `fern collect`: real text from many places into one collection (segment.h), language by language.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace fern {

struct CollectOptions {
  std::vector<std::string> sources = {};    // collect_source.h
  std::filesystem::path out = {};           // folder of the collection; the one above it must allow writing
  std::vector<std::string> languages = {};  // only these; empty: all
  int64_t max_per_language = 0;     // segments; 0: all. Which ones stay depends on the English (or the text)
                                    // alone, so that languages keep the same messages
  int threads = 0;                  // 0: one a core
  std::string licence = "unknown";  // of JSONL and plain text, recorded with each segment's origin
};

struct CollectProgress {
  int64_t languages_done, languages, segments;
};

enum class CollectOutcome { kWritten, kUpToDate };

// Reads, cleans (clean.h), drops duplicates within a language, and writes the collection: beside `out` first,
// then renamed, so `out` is the old collection or the whole new one. The result depends on the sources and
// options alone, not on threads. Does nothing when `out` was made from the same files with the same options.
// `progress` is called from several threads, one at a time. Warnings (machine's catalogues that cannot be
// read, wanted languages without text) are in collection.json. Errors: a source or language code that is not
// understood (usage), a file that cannot be read, no segment at all, an `out` that is not a collection and
// not empty.
CollectOutcome collect(const CollectOptions& options,
                       const std::function<void(const CollectProgress&)>& progress);

// What a collection holds, for people: languages, segments, sources, licences, what was left out and why.
std::string describe_collection(const std::filesystem::path& folder);

}  // namespace fern
