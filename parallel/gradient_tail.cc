#include "parallel/gradient_tail.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

GradientTail::GradientTail(const Parameters& parameters) : list_(parameters.list()), complete_(list_.size()) {
  restart();
}

void GradientTail::restart() {
  std::fill(complete_.begin(), complete_.end(), false);
  missing_ = list_.size();
  begin_ = list_.empty() ? 0 : list_.back().offset + list_.back().elements();
}

void GradientTail::add(const Parameter& parameter) {
  const size_t index = index_of(parameter);
  expect(!complete_[index], "[gradients] '{}' was reported complete twice in one backward pass",
         parameter.name);
  complete_[index] = true;
  while (missing_ > 0 && complete_[missing_ - 1]) begin_ = list_[--missing_].offset;
}

size_t GradientTail::index_of(const Parameter& parameter) const {
  const auto at = std::lower_bound(list_.begin(), list_.end(), parameter.offset,
                                   [](const Parameter& p, int64_t offset) { return p.offset < offset; });
  expect(at != list_.end() && at->name == parameter.name, "[gradients] '{}' is no parameter of this model",
         parameter.name);
  return static_cast<size_t>(at - list_.begin());
}

}  // namespace fern
