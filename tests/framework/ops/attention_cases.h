// Heads and documents that the tests of attention run through.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <ostream>
#include <vector>

#include "framework/ops/attention.h"
#include "tests/framework/ops/op_testing.h"

namespace fern::testing {

// Documents by their lengths, one after another.
inline std::vector<int32_t> starts_of(const std::vector<int64_t>& lengths) {
  std::vector<int32_t> starts;
  for (int64_t length : lengths)
    starts.insert(starts.end(), static_cast<size_t>(length), static_cast<int32_t>(starts.size()));
  return starts;
}

// What each position sees of the rows of a whole sequence's qkv.
struct Causal {
  explicit Causal(const std::vector<int32_t>& starts)
      : first(Values<int32_t>::from(starts, {std::ssize(starts)})), end({std::ssize(starts)}) {
    std::iota(end.data().begin(), end.data().end(), 1);
  }
  SeenKeys seen(const Tensor& qkv_TE) { return {qkv_TE, first.tensor(), end.tensor()}; }
  Values<int32_t> first, end;
};

struct Case {
  int64_t heads, kv_heads, head_size;
  std::vector<int64_t> documents;
};
inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.heads << " heads, " << c.kv_heads << " kv heads of " << c.head_size << ", documents "
             << ::testing::PrintToString(c.documents);
}

inline const std::vector<Case> kSmall = {
    {1, 1, 1, {1}}, {1, 1, 2, {5}}, {2, 1, 3, {4, 1, 3}}, {4, 2, 6, {2, 5}}, {3, 3, 17, {9}}};
// Around the edges of tiles, with documents inside and across them.
inline const std::vector<Case> kLarge = {{2, 1, 16, {200}},
                                         {4, 2, 64, {1, 2, 3, 60, 64, 65, 7}},
                                         {2, 2, 40, {63, 1, 64, 130}},
                                         {3, 1, 10, {33, 31, 17, 1, 1, 96}},
                                         {1, 1, 128, {129}}};

}  // namespace fern::testing
