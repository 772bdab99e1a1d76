#include "framework/train/checkpoint_tensors.h"

namespace fern {

std::span<const float> OwnTensors::get(TensorKind kind, int index) {
  const Tensor flat = kind == TensorKind::kValues        ? parameters_.values()
                      : kind == TensorKind::kFirstMoment ? optimizer_.first_moment()
                                                         : optimizer_.second_moment();
  const Parameter& parameter = parameters_.list()[static_cast<size_t>(index)];
  return flat.values<float>().subspan(static_cast<size_t>(parameter.offset),
                                      static_cast<size_t>(parameter.elements()));
}

}  // namespace fern
