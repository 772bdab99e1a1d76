#include "framework/layers/grouped_linear.h"

namespace fern {

namespace {

// Calls work(expert's number, its first row, the row after its last) for experts that have rows.
template <typename Work>
void for_each_group(const Tensor& first_E1, const Work& work) {
  const int32_t* first = first_E1.as<int32_t>();
  for (int64_t e = 0; e + 1 < first_E1.dim(0); ++e)
    if (first[e] < first[e + 1]) work(static_cast<size_t>(e), int64_t{first[e]}, int64_t{first[e + 1]});
}

}  // namespace

void GroupedLinear::reserve_packed(PackingRooms& rooms, const WeightUse& use) {
  for (Linear& expert : experts_) expert.reserve_packed(rooms, use);
}

void GroupedLinear::forward(Tensor y_RO, const Tensor& x_RI, const Tensor& first_E1, Stream& stream) const {
  for_each_group(first_E1, [&](size_t e, int64_t begin, int64_t end) {
    experts_[e].forward(y_RO.rows(begin, end), x_RI.rows(begin, end), stream);
  });
}

void GroupedLinear::backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& first_E1,
                                   Stream& stream) const {
  for_each_group(first_E1, [&](size_t e, int64_t begin, int64_t end) {
    experts_[e].backward_input(dx_RI.rows(begin, end), dy_RO.rows(begin, end), stream);
  });
}

void GroupedLinear::backward_weight(const Tensor& dy_RO, const Tensor& x_RI, const Tensor& first_E1,
                                    Stream& stream) const {
  for_each_group(first_E1, [&](size_t e, int64_t begin, int64_t end) {
    experts_[e].backward_weight(dy_RO.rows(begin, end), x_RI.rows(begin, end), stream);
  });
}

}  // namespace fern
