// Segments: what `fern collect` writes and `fern prepare` reads. A collection is a folder:
//   segments/<language>.jsonl   one object a line, in a deterministic order
//   origins.jsonl               one Origin a line; a segment's "origin" is its line number from 0
//   collection.json             counts per language and source, licences
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fern {

// Where text came from.
struct Origin {
  std::string source = {};   // "gettext", "iso-codes", "mediawiki", "jsonl", "text"
  std::string package = {};  // Debian package, "" when unknown
  std::string version = {};
  std::string licence = {};  // SPDX where known, else "see /usr/share/doc/<package>/copyright" or "unknown"
  std::string file = {};     // path as given
};

enum class SegmentKind { kMessage, kCountry, kLanguage, kProse };

// One piece of text in one language, beside its English where there is one. All strings are UTF-8, cleaned:
// accelerators and markup removed, white space folded.
struct Segment {
  std::string language = {};  // BCP 47
  std::string english = {};   // "" for text without a source string
  std::string text = {};
  std::string note = {};  // what the message is for (qqq.json, gettext comments); "" when unknown
  std::string key = {};   // message key or msgid context
  SegmentKind kind = SegmentKind::kMessage;
  int64_t origin = 0;  // index into origins
};

// "message", "country", "language", "prose".
std::string_view kind_name(SegmentKind kind);

// One JSON object without a line end. `language`, `text`, `kind` and `origin` always; the other fields when
// they are not empty.
std::string to_json_line(const Segment& segment);
std::string to_json_line(const Origin& origin);

// Calls `visit` for each segment of a JSONL file, in order. `text` and `language` must be there; other keys
// of a segment are optional and unknown keys are passed over, so plain {"text", "language"} files can be
// read. Empty lines are allowed. Errors: a file that cannot be read; a line that is not such an object or not
// UTF-8, with its number.
void read_segments(const std::filesystem::path& file, const std::function<void(Segment)>& visit);

// The lines of an origins.jsonl. Errors: as read_segments.
std::vector<Origin> read_origins(const std::filesystem::path& file);

}  // namespace fern
