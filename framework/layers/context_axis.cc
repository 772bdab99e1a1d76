#include "framework/layers/context_axis.h"

#include "framework/core/error.h"

namespace fern {

void LoneContext::begin_rotation(RingCargo, const Tensor&, Tensor) {
  fail("[context_axis] expected a model of whole sequences to run without other ranks, got one of {} ranks",
       size_);
}

}  // namespace fern
