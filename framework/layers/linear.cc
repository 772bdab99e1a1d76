#include "framework/layers/linear.h"

#include "framework/ops/linear.h"
#include "framework/sparsity/expand.h"
#include "framework/sparsity/product_choice.h"

namespace fern {

void Linear::reserve_packed(PackingRooms& rooms, WeightUse use) {
  if (parameters_.pattern_of(run_) != nullptr) return;
  const Shape shape = parameters_.shape_of(run_);
  use.tokens *= parameters_.list()[static_cast<size_t>(run_.first)].token_share;
  packed_.emplace(shape[0], shape[1], use, rooms);
}

const Pattern* Linear::pattern() const {
  if (topology_version_ != parameters_.topology_version()) {
    pattern_ = parameters_.pattern_of(run_);
    is_hardly_sparse_ = pattern_ != nullptr && prefers_dense(*pattern_, DType::kF32);
    sparse_.reset();
    if (pattern_ != nullptr && packed_) {
      packed_->give_back();
      packed_.reset();
    }
    topology_version_ = parameters_.topology_version();
  }
  return pattern_;
}

const SparseProduct* Linear::sparse() const {
  if (pattern() == nullptr) return nullptr;
  if (!sparse_) sparse_.emplace(*pattern_);
  return &*sparse_;
}

bool Linear::is_multiplied_dense(DType dtype) const {
  return pattern() != nullptr && is_hardly_sparse_ && dtype == DType::kF32 &&
         !parameters_.dense_value_room(run_).empty();
}

Tensor Linear::expanded(DType dtype) const {
  if (!is_multiplied_dense(dtype)) return {};
  const Tensor room = parameters_.dense_value_room(run_);
  expand(room.values<float>(), parameters_.values_of(run_).values<float>(), *pattern_);
  return room;
}

void Linear::forward(Tensor y_TO, const Tensor& x_TI, Stream& stream) const {
  if (const Tensor room = expanded(x_TI.dtype()); !room.empty())
    linear_forward(y_TO, x_TI, room, stream);
  else if (const SparseProduct* product = sparse())
    product->forward(y_TO, x_TI, parameters_.values_of(run_), stream);
  else if (packed_ && packed_->has_forward())
    packed_->forward(y_TO, x_TI, parameters_.values_of(run_), parameters_.version(), stream);
  else
    linear_forward(y_TO, x_TI, parameters_.values_of(run_), stream);
}

void Linear::backward_input(Tensor dx_TI, const Tensor& dy_TO, Stream& stream) const {
  if (const Tensor room = expanded(dx_TI.dtype()); !room.empty())
    linear_backward_input(dx_TI, dy_TO, room, /*accumulate=*/false, stream);
  else if (const SparseProduct* product = sparse())
    product->backward_input(dx_TI, dy_TO, parameters_.values_of(run_), stream);
  else if (packed_ && packed_->has_backward())
    packed_->backward_input(dx_TI, dy_TO, parameters_.values_of(run_), parameters_.version(), stream);
  else
    linear_backward_input(dx_TI, dy_TO, parameters_.values_of(run_), /*accumulate=*/false, stream);
}

void Linear::backward_weight(const Tensor& dy_TO, const Tensor& x_TI, Stream& stream) const {
  if (is_multiplied_dense(x_TI.dtype())) {
    const Tensor gradient = parameters_.dense_gradient_room(run_);
    fill_zero(gradient);
    linear_backward_weight(gradient, dy_TO, x_TI, stream);
    gather_add(parameters_.gradients_of(run_).values<float>(), gradient.values<float>(), *pattern_);
  } else if (const SparseProduct* product = sparse()) {
    product->backward_weight(parameters_.gradients_of(run_), dy_TO, x_TI, stream);
  } else {
    linear_backward_weight(parameters_.gradients_of(run_), dy_TO, x_TI, stream);
  }
  for (const ScoredRows& rows : parameters_.scored_rows())
    if (rows.run == run_) linear_backward_weight_rows(rows.gradient_RI, dy_TO, rows.first_row, x_TI, stream);
}

void Linear::report(GradSink& sink) const {
  for (int i = run_.first + run_.count - 1; i >= run_.first; --i)
    sink.add(parameters_.list()[static_cast<size_t>(i)]);
}

}  // namespace fern
