// Rows of a table by token id. V vocabulary, D hidden, T tokens.
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// x[t] = w[input[t]]. Errors: an id outside 0..V-1, naming position and id.
void embedding_forward(Tensor x_TD, const Tensor& w_VD, const Tensor& input_T, Stream& stream);
// The same of a table of which rows first_row to first_row + R are here: zeros for ids of other rows.
// REQUIRES: ids within the whole table.
void embedding_forward_rows(Tensor x_TD, const Tensor& w_RD, const Tensor& input_T, int64_t first_row,
                            Stream& stream);
// dw[input[t]] += dx[t], in order of t for each row.
void embedding_backward(Tensor dw_VD, const Tensor& dx_TD, const Tensor& input_T, Stream& stream);

}  // namespace fern
