// Ranges of elements of the flat parameter buffers: what one of several processes keeps of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fern {

// Half-open.
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t elements() const { return end - begin; }
  bool operator==(const Slice&) const = default;
};

inline Slice intersection(Slice a, Slice b) {
  const int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

// Disjoint, ascending. A buffer that holds these alone has them one after the other.
class Slices {
 public:
  Slices() = default;
  Slices(Slice one) { add(one); }
  Slices(int64_t begin, int64_t end) : Slices(Slice{begin, end}) {}
  // One that begins where the last ends, or after; an empty one is left out.
  void add(Slice next) {
    if (next.elements() > 0) list_.push_back(next);
  }
  // Others that lie `by` further on.
  void add(const Slices& others, int64_t by) {
    for (const Slice& slice : others.list_) add({slice.begin + by, slice.end + by});
  }
  const std::vector<Slice>& list() const { return list_; }
  int64_t end() const { return list_.empty() ? 0 : list_.back().end; }
  int64_t elements() const {
    int64_t elements = 0;
    for (const Slice& slice : list_) elements += slice.elements();
    return elements;
  }
  // Calls work(slice, first) for what of `range` is kept: its first element is the first-th of a buffer that
  // holds these alone.
  template <typename Work>
  void for_each_in(Slice range, const Work& work) const {
    int64_t first = 0;
    for (const Slice& slice : list_) {
      const Slice kept = intersection(slice, range);
      if (kept.elements() > 0) work(kept, first + kept.begin - slice.begin);
      first += slice.elements();
    }
  }
  bool operator==(const Slices&) const = default;

 private:
  std::vector<Slice> list_;
};

}  // namespace fern
