// A tensor is a view: pointer, type, shape. It owns nothing; an Arena does.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "framework/core/device.h"
#include "framework/core/dtype.h"

namespace fern {

// Up to four dimensions, outermost first.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }
  int64_t elements() const;
  bool operator==(const Shape&) const = default;
  std::string to_string() const;  // "[2, 3]"

 private:
  std::array<int64_t, 4> dims_{};
  int rank_ = 0;
};

// A contiguous row-major view. Copying it copies the view. A default-constructed tensor is empty: data() is
// null. By convention names carry shape letters: x_TD is tokens x hidden, w_DF rows D, columns F.
class Tensor {
 public:
  Tensor() = default;
  Tensor(void* data, DType dtype, Shape shape, Device device = Device::kCpu)
      : data_(data), shape_(shape), dtype_(dtype), device_(device) {}

  // A view of a caller's array, which must outlive it and hold shape.elements() values.
  template <typename T>
  static Tensor of(T* data, Shape shape) {
    return Tensor(data, dtype_of<T>, shape);
  }

  bool empty() const { return data_ == nullptr; }
  void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t elements() const { return shape_.elements(); }
  size_t bytes() const { return static_cast<size_t>(elements()) * size_of(dtype_); }

  // The values as T. Errors: the dtype is not T's.
  template <typename T>
  T* as() const {
    expect(dtype_ == dtype_of<T>, "[tensor] expected {}, got {}", name_of(dtype_of<T>), name_of(dtype_));
    return static_cast<T*>(data_);
  }
  template <typename T>
  std::span<T> values() const {
    return {as<T>(), static_cast<size_t>(elements())};
  }

  // The same values under another shape of as many elements.
  Tensor reshape(Shape shape) const;
  // Rows [begin, end) of the outermost dimension.
  Tensor rows(int64_t begin, int64_t end) const;

 private:
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kF32;
  Device device_ = Device::kCpu;
};

// Sets every value of a tensor in host memory to zero.
void fill_zero(const Tensor& tensor);

// Fails with "[op] name: expected f32 [2, 3], got ..." unless the tensor has this shape and dtype.
void expect_tensor(std::string_view op, std::string_view name, const Tensor& tensor, DType dtype,
                   const Shape& shape);

}  // namespace fern
