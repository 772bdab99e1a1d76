#include "parallel/gradient_tail.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

GradientTail::GradientTail(std::span<const Parameter> list) : list_(list), complete_(list.size()) {
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
  auto at = std::ranges::lower_bound(list_, parameter.offset, {}, &Parameter::offset);
  // Parameters without any weight share their offset with the next.
  while (at != list_.end() && at->offset == parameter.offset && at->name != parameter.name) ++at;
  expect(at != list_.end() && at->name == parameter.name, "[gradients] '{}' is no parameter of this model",
         parameter.name);
  return static_cast<size_t>(at - list_.begin());
}

}  // namespace fern
