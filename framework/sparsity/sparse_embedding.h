// Rows of a table that has a pattern, by token id: only stored values are read, and only they get a gradient.
// V vocabulary, D hidden, T tokens, N values in the pattern's order. x is f32, bf16 or f64; values and their
// gradient are wide. The pattern's rows are those of the table from `first_row` on, maybe not all. REQUIRES:
// ids within the whole table (expect_ids()).
#pragma once

#include "framework/core/tensor.h"
#include "framework/sparsity/pattern.h"

namespace fern {

// Errors: an id outside 0..V-1, naming position and id.
void expect_ids(const Tensor& input_T, int64_t vocabulary);

// x[t] = row input[t], with zeros where no weight exists, and for ids of other rows.
void sparse_embedding_forward(Tensor x_TD, const Tensor& values_N, const Pattern& pattern,
                              const Tensor& input_T, int64_t first_row, Stream& stream);
// dvalues of row input[t] += dx[t] where weights exist, in order of t for each row.
void sparse_embedding_backward(Tensor dvalues_N, const Tensor& dx_TD, const Pattern& pattern,
                               const Tensor& input_T, int64_t first_row, Stream& stream);
// Rows [first_row, first_row + R) of the dense gradient: gradient[input[t] - first_row] += dx[t].
void embedding_backward_rows(Tensor gradient_RD, const Tensor& dx_TD, const Tensor& input_T,
                             int64_t first_row, Stream& stream);

}  // namespace fern
