// Where the values of a weight go when its pattern changes.
#pragma once

#include <cstdint>

#include "framework/core/error.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// Values that stay side by side.
struct ValueMove {
  int64_t to = 0, from = 0, count = 0;
  bool is_new() const { return from < 0; }  // weights that were not there
};

// Joins moves that continue one another, and hands them on.
template <typename Visit>
class MoveJoiner {
 public:
  explicit MoveJoiner(const Visit& visit) : visit_(visit) {}
  void add(int64_t from, int64_t count) {
    const bool continues = from < 0 ? move_.is_new() : !move_.is_new() && from == move_.from + move_.count;
    if (!continues) flush();
    if (move_.count == 0) move_.from = from;
    move_.count += count;
  }
  void flush() {
    if (move_.count > 0) visit_(move_);
    move_ = {move_.to + move_.count, 0, 0};
  }

 private:
  const Visit& visit_;
  ValueMove move_;
};

// Calls visit(ValueMove) for the values of `now`, in their order, and where they were in `before`. REQUIRES:
// patterns of one matrix with the same blocks.
template <typename Visit>
void for_each_move(const Pattern& now, const Pattern& before, const Visit& visit) {
  expect(now.rows() == before.rows() && now.columns() == before.columns() && now.block() == before.block(),
         "[value_moves] expected two patterns of one matrix, got {} x {} and {} x {}", now.rows(),
         now.columns(), before.rows(), before.columns());
  const int64_t elements = now.block().elements();
  MoveJoiner joiner(visit);
  for (int64_t r = 0; r < now.block_rows(); ++r) {
    const auto old_row = before.row(r);
    const int64_t old_begin = before.row_begin()[static_cast<size_t>(r)];
    size_t at = 0;
    for (const uint16_t column : now.row(r)) {
      while (at < old_row.size() && old_row[at] < column) ++at;
      const bool was_there = at < old_row.size() && old_row[at] == column;
      joiner.add(was_there ? (old_begin + static_cast<int64_t>(at)) * elements : -1, elements);
    }
  }
  joiner.flush();
}

// The same where all weights were there, row by row.
template <typename Visit>
void for_each_move_from_dense(const Pattern& now, const Visit& visit) {
  const BlockShape block = now.block();
  MoveJoiner joiner(visit);
  for (int64_t r = 0; r < now.block_rows(); ++r)
    for (const uint16_t column : now.row(r))
      for (int64_t i = 0; i < block.rows; ++i)
        joiner.add((r * block.rows + i) * now.columns() + column * block.columns, block.columns);
  joiner.flush();
}

}  // namespace fern
