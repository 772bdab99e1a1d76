// Tensors as communicators carry them: the bits of any type.
#pragma once

#include <span>

#include "framework/core/tensor.h"

namespace fern {

inline std::span<float> words_of(const Tensor& tensor) {
  expect(tensor.bytes() % sizeof(float) == 0, "[parallel] expected whole words of {} bytes, got {} bytes",
         sizeof(float), tensor.bytes());
  return {static_cast<float*>(tensor.data()), tensor.bytes() / sizeof(float)};
}

}  // namespace fern
