#include "framework/layers/tensor_axis.h"

#include <algorithm>

namespace fern {

Tensor TensorAxis::rows_of(int64_t rank, const Tensor& whole) const {
  const Slice rows = share_of(rank, whole.dim(0));
  return whole.rows(rows.begin, rows.end);
}

Tensor TensorAxis::gathered(const Tensor& own, const Tensor& room, Stream& stream) {
  if (size() == 1) return own;
  with_float_type("tensor_axis", own.dtype(),
                  [&]<typename T>() { std::ranges::copy(own.values<T>(), own_rows(room).as<T>()); });
  all_gather(room, stream);
  return room;
}

void TensorAxis::all_reduce(const Tensor& values, Stream& stream) {
  reduce_scatter(own_rows(values), values, stream);
  all_gather(values, stream);
}

void LoneAxis::all_gather(const Tensor&, Stream&) { expect_alone(); }

void LoneAxis::reduce_scatter(Tensor own, const Tensor& whole, Stream&) {
  expect_alone();
  expect(own.data() == whole.data(), "[tensor_axis] expected one rank's sum to be where it was made");
}

void LoneAxis::expect_alone() const {
  expect(size_ == 1, "[tensor_axis] expected a model of one share to run without other ranks, got one of {}",
         size_);
}

}  // namespace fern
