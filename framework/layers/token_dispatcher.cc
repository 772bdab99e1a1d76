#include "framework/layers/token_dispatcher.h"

namespace fern {

int64_t Dispatch::rows() const { return first_X1.as<int32_t>()[first_X1.dim(0) - 1]; }

Dispatch TokenDispatcher::allocate(Arena& arena, const TokenPermutation& permutation) const {
  if (size() == 1) return {.rows_NE = {}, .first_X1 = permutation.first_E1};
  const int64_t experts = permutation.first_E1.dim(0) - 1;
  return {.rows_NE = arena.allocate(DType::kI32, {size(), experts}),
          .first_X1 = arena.allocate(DType::kI32, {own(experts).elements() + 1})};
}

void LoneDispatcher::count(const Dispatch&, const Tensor&, Stream&) { expect_alone(); }

void LoneDispatcher::dispatch(Tensor here_QC, const Tensor& rows_RC, const Dispatch&, Stream&) {
  expect_alone();
  expect(here_QC.data() == rows_RC.data(),
         "[token_dispatcher] expected one rank's rows to be where they are used");
}

void LoneDispatcher::collect(Tensor rows_RC, const Tensor& here_QC, const Dispatch& dispatch,
                             Stream& stream) {
  this->dispatch(here_QC, rows_RC, dispatch, stream);
}

void LoneDispatcher::expect_alone() const {
  expect(
      size_ == 1,
      "[token_dispatcher] expected a model with all experts to run without other ranks, got one of {} shares",
      size_);
}

}  // namespace fern
