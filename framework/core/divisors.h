#pragma once

#include <cstdint>
#include <vector>

namespace fern {

// All divisors of a positive number, ascending: what messages offer in place of one that does not divide.
inline std::vector<int64_t> divisors(int64_t number) {
  std::vector<int64_t> all;
  for (int64_t d = 1; d <= number; ++d)
    if (number % d == 0) all.push_back(d);
  return all;
}

}  // namespace fern
