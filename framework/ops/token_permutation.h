// Tokens in the order of the experts they go to, and back. T tokens, K choices of each, E experts, R rows:
// one for each choice that is kept, those of one expert next to each other, in the order of tokens.
#pragma once

#include <cstdint>

#include "framework/core/tensor.h"

namespace fern {

struct TokenPermutation {
  Tensor first_E1;   // i32 [E + 1]: expert e has rows [first[e], first[e + 1]); the last is R
  Tensor choice_TK;  // i32, flat: of each row r < R, its choice t K + k
  Tensor row_TK;     // i32: of each choice its row, or -1: dropped, or a position of padding
  int64_t rows() const;
  TokenPermutation first(int64_t tokens) const;
};

// The most tokens that an expert takes: ceil(factor x tokens x K / E) (Fedus et al. 2021, equation 3); all of
// them where the factor is 0.
int64_t expert_capacity(double factor, int64_t tokens, int64_t active, int64_t experts);

// Expert -1 is none. Of an expert's tokens the first `capacity` are kept. Errors: an expert outside -1..E-1.
void permute_tokens(const TokenPermutation& out, const Tensor& expert_TK, int64_t capacity, Stream& stream);

// rows[r] = x[token of r]. The gradient of combine_rows().
void gather_rows(Tensor rows_RD, const Tensor& x_TD, const TokenPermutation& permutation, Stream& stream);
// gate[r] = the gate of row r's choice; gates are wide.
void gather_gates(Tensor gate_R, const Tensor& gate_TK, const TokenPermutation& permutation, Stream& stream);
// The gradient of that: 0 for a choice without a row.
void scatter_gates(Tensor dgate_TK, const Tensor& dgate_R, const TokenPermutation& permutation,
                   Stream& stream);
// y[t] = the sum of t's rows, in the order of its choices; or y[t] += that. The gradient of gather_rows().
void combine_rows(Tensor y_TD, const Tensor& rows_RD, const TokenPermutation& permutation, bool accumulate,
                  Stream& stream);

}  // namespace fern
