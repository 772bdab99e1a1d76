// value / step, rounded up.
#pragma once

#include <cstdint>

namespace fern {

constexpr int64_t ceiling(int64_t value, int64_t step) { return (value + step - 1) / step; }

}  // namespace fern
