// How much of the flat gradient buffer is complete while backward goes on: backward finishes gradients from
// the end of the buffer to its begin.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/model/parameters.h"

namespace fern {

class GradientTail {
 public:
  // Nothing is complete. Borrows the list, in the order of backward's end to its begin; offsets may change
  // between two backward passes.
  explicit GradientTail(std::span<const Parameter> list);
  std::span<const Parameter> list() const { return list_; }
  // Nothing is complete any more.
  void restart();
  // This parameter's gradient is complete. Errors: it was already.
  void add(const Parameter& parameter);
  // Everything is complete.
  void complete() { begin_ = first(); }
  // All gradients from this element to the end of the buffer are complete; the padding counts as complete.
  // Counted from the first parameter of the list.
  int64_t begin() const { return begin_ - first(); }

 private:
  int64_t first() const { return list_.empty() ? 0 : list_.front().offset; }
  size_t index_of(const Parameter& parameter) const;

  std::span<const Parameter> list_;  // in the order of their offsets
  std::vector<bool> complete_;
  size_t missing_ = 0;  // parameters up to the last incomplete one
  int64_t begin_ = 0;
};

}  // namespace fern
