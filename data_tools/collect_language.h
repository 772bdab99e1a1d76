// One language of a collection: its pieces read, cleaned, freed of duplicates and written.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data_tools/clean.h"
#include "data_tools/collect_piece.h"

namespace fern {

// A piece and its line number in origins.jsonl.
struct NumberedPiece {
  const Piece* piece;
  int64_t origin;
};

struct LanguageResult {
  int64_t segments = 0;
  int64_t characters = 0;                    // code points of the texts
  std::map<std::string, int64_t> by_source;  // segments
  std::array<int64_t, kDropReasons> dropped = {};
  std::vector<std::string> warnings;
};

// Writes `file` unless nothing is left. Segments keep the order of the pieces, the iso-codes' first, so that
// of two equal pairs the one that is known to name a country or language stays. Errors: as the pieces'
// readers.
LanguageResult collect_language(const std::vector<NumberedPiece>& pieces, int64_t max_segments,
                                const std::filesystem::path& file);

}  // namespace fern
