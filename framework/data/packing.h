// Packing: which documents share a sequence. Done once, when a shard is written.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fern {

// Documents are packed a window at a time, so that memory and time per document stay bounded.
inline constexpr int64_t kPackingWindow = 8192;

// Letters: S sequences, D documents.
struct Packing {
  std::vector<int64_t> order_D;               // the document at each place of the packed order
  std::vector<int64_t> sequence_documents_S;  // S + 1 places: sequence i holds [i, i + 1) of them
};

// First-fit decreasing within windows of `window` documents: the longest first, each into the first sequence
// with room (Johnson 1973; at most 11/9 of the fewest sequences possible, plus one, per window). Within a
// sequence documents keep their order. A function of its arguments alone.
// REQUIRES 1 <= length <= context for each.
Packing pack(std::span<const int64_t> lengths_D, int64_t context, int64_t window = kPackingWindow);

}  // namespace fern
