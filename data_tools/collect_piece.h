// Pieces: the raw text of one language in one file, ready to be read when its turn comes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data_tools/clean.h"
#include "data_tools/collect_package.h"
#include "data_tools/collect_source.h"
#include "data_tools/segment.h"

namespace fern {

struct Piece {
  std::string language;  // BCP 47
  Origin origin;
  TextStyle style;
  int64_t bytes;       // size on disk, to share out the work
  bool may_be_broken;  // one of the machine's own files, which its user cannot mend
  // Raw segments with text, english, note, key and kind. To be called once. Errors: as the file's reader.
  std::function<std::vector<Segment>()> read;
};

struct Pieces {
  std::vector<Piece> pieces;               // in the order of the source's files
  std::map<std::string, int64_t> refused;  // code that names no language -> files, or segments for JSONL
};

// Pieces of a source. `licence` is what the user says of JSONL and plain text. JSONL files are read here and
// held in memory until each language's turn; all others are read when their turn comes. Errors: a MediaWiki
// en.json or qqq.json, or a JSONL file, that cannot be read.
Pieces open_pieces(const Source& source, PackageIndex& packages, const std::string& licence);

}  // namespace fern
