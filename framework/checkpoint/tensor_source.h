// Where a save takes tensors from, one at a time.
#pragma once

#include <cstdint>
#include <span>

namespace fern {

enum class TensorKind : uint8_t { kValues, kFirstMoment, kSecondMoment };

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual bool has_moments() const = 0;
  // Those of the index-th parameter, valid until the next call. A save asks for the values of all parameters
  // in order, then for both moments of one parameter after the other.
  virtual std::span<const float> get(TensorKind kind, int index) = 0;
};

}  // namespace fern
