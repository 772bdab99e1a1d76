#include "framework/sparsity/expand.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/sparsity/for_each_weight.h"

namespace fern {

namespace {

void expect_sizes(std::string_view op, size_t whole, size_t values, const Pattern& pattern) {
  expect(static_cast<int64_t>(whole) == pattern.rows() * pattern.columns() &&
             static_cast<int64_t>(values) == pattern.nonzeros(),
         "[{}] expected {} values of a matrix of {}, got {} of {}", op, pattern.nonzeros(),
         pattern.rows() * pattern.columns(), values, whole);
}

// Calls visit(place in the matrix, index of the value); rows of blocks are shared out among threads.
template <typename Visit>
void for_each_place(const Pattern& pattern, const Visit& visit) {
  const int64_t columns = pattern.columns();
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < pattern.block_rows(); ++r)
    for_each_weight(pattern, r, r + 1, [&](int64_t row, int64_t column, int64_t value) {
      visit(static_cast<size_t>(row * columns + column), static_cast<size_t>(value));
    });
}

}  // namespace

void expand(std::span<float> whole, std::span<const float> values, const Pattern& pattern) {
  expect_sizes("expand", whole.size(), values.size(), pattern);
  const int64_t row_elements = pattern.block().rows * pattern.columns();
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < pattern.block_rows(); ++r)
    std::fill_n(whole.begin() + r * row_elements, row_elements, 0.0F);
  for_each_place(pattern, [&](size_t place, size_t value) { whole[place] = values[value]; });
}

void gather(std::span<float> values, std::span<const float> whole, const Pattern& pattern) {
  expect_sizes("gather", whole.size(), values.size(), pattern);
  for_each_place(pattern, [&](size_t place, size_t value) { values[value] = whole[place]; });
}

void gather_add(std::span<float> values, std::span<const float> whole, const Pattern& pattern) {
  expect_sizes("gather_add", whole.size(), values.size(), pattern);
  for_each_place(pattern, [&](size_t place, size_t value) { values[value] += whole[place]; });
}

}  // namespace fern
