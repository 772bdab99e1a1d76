#include "framework/core/tensor.h"

#include <fmt/ranges.h>

#include <cstring>

namespace fern {

Shape::Shape(std::initializer_list<int64_t> dims) {
  expect(dims.size() <= dims_.size(), "[shape] expected at most {} dimensions, got {}", dims_.size(),
         dims.size());
  for (int64_t dim : dims) {
    expect(dim >= 0, "[shape] expected sizes of 0 or more, got {}", dim);
    dims_[static_cast<size_t>(rank_++)] = dim;
  }
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= (*this)[i];
  return product;
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(dims_.begin(), dims_.begin() + rank_, ", "));
}

Tensor Tensor::reshape(Shape shape) const {
  expect(shape.elements() == elements(), "[reshape] expected {} elements as in {}, got {}", elements(),
         shape_.to_string(), shape.to_string());
  return Tensor(data_, dtype_, shape, device_);
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  expect(shape_.rank() >= 1 && 0 <= begin && begin <= end && end <= dim(0),
         "[rows] expected 0 <= begin <= end <= {}, got {} and {}", shape_.rank() ? dim(0) : 0, begin, end);
  const int64_t row_elements = dim(0) == 0 ? 0 : elements() / dim(0);
  Shape shape;
  switch (shape_.rank()) {
    case 1:
      shape = {end - begin};
      break;
    case 2:
      shape = {end - begin, dim(1)};
      break;
    case 3:
      shape = {end - begin, dim(1), dim(2)};
      break;
    default:
      shape = {end - begin, dim(1), dim(2), dim(3)};
      break;
  }
  return Tensor(static_cast<std::byte*>(data_) + static_cast<size_t>(begin * row_elements) * size_of(dtype_),
                dtype_, shape, device_);
}

void fill_zero(const Tensor& tensor) {
  if (tensor.elements() > 0) std::memset(tensor.data(), 0, tensor.bytes());
}

void expect_tensor(std::string_view op, std::string_view name, const Tensor& tensor, DType dtype,
                   const Shape& shape) {
  expect(tensor.dtype() == dtype && tensor.shape() == shape, "[{}] {}: expected {} {}, got {} {}", op, name,
         name_of(dtype), shape.to_string(), name_of(tensor.dtype()), tensor.shape().to_string());
}

}  // namespace fern
