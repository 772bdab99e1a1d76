#include "framework/data/packing.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <numeric>

namespace fern {

namespace {

// Free room of sequences 0, 1, ...: a tree of maxima finds the first with enough in O(log n).
class Room {
 public:
  Room(size_t sequences, int64_t context)
      : leaves_(std::bit_ceil(sequences)), most_free_(2 * leaves_, context) {}

  size_t take_first_with(int64_t length) {
    size_t node = 1;
    while (node < leaves_) node = most_free_[2 * node] >= length ? 2 * node : 2 * node + 1;
    const size_t sequence = node - leaves_;
    most_free_[node] -= length;
    while (node > 1) {
      node /= 2;
      most_free_[node] = std::max(most_free_[2 * node], most_free_[2 * node + 1]);
    }
    return sequence;
  }

 private:
  size_t leaves_;
  std::vector<int64_t> most_free_;
};

void pack_window(Packing& out, std::span<const int64_t> lengths_D, size_t begin, size_t end,
                 int64_t context) {
  std::vector<size_t> longest_first(end - begin);
  std::iota(longest_first.begin(), longest_first.end(), begin);
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [&](size_t a, size_t b) { return lengths_D[a] > lengths_D[b]; });
  Room room(longest_first.size(), context);
  std::vector<std::vector<int64_t>> sequences;
  for (const size_t document : longest_first) {
    const size_t sequence = room.take_first_with(lengths_D[document]);
    if (sequence == sequences.size()) sequences.emplace_back();
    sequences[sequence].push_back(static_cast<int64_t>(document));
  }
  for (std::vector<int64_t>& sequence : sequences) {
    std::sort(sequence.begin(), sequence.end());
    out.order_D.insert(out.order_D.end(), sequence.begin(), sequence.end());
    out.sequence_documents_S.push_back(static_cast<int64_t>(out.order_D.size()));
  }
}

}  // namespace

Packing pack(std::span<const int64_t> lengths_D, int64_t context, int64_t window) {
  assert(window >= 1);
  assert(std::all_of(lengths_D.begin(), lengths_D.end(), [&](int64_t n) { return 1 <= n && n <= context; }));
  Packing out{.order_D = {}, .sequence_documents_S = {0}};
  out.order_D.reserve(lengths_D.size());
  for (size_t begin = 0; begin < lengths_D.size(); begin += static_cast<size_t>(window))
    pack_window(out, lengths_D, begin, std::min(lengths_D.size(), begin + static_cast<size_t>(window)),
                context);
  return out;
}

}  // namespace fern
