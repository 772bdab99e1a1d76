// Element types. fp32 computes today; f64 is for checking gradients; bf16 is the next compute type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "framework/core/error.h"

namespace fern {

enum class DType : uint8_t { kF32, kF64, kI32 };

constexpr size_t size_of(DType dtype) { return dtype == DType::kF64 ? 8 : 4; }
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kI32:
      return "i32";
  }
  return "unknown";
}

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <typename T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// Calls `body.template operator()<T>()` with T the C++ type of a floating dtype. `op` names the caller in the
// error.
template <typename Body>
decltype(auto) with_float_type(std::string_view op, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<float>();
    case DType::kF64:
      return body.template operator()<double>();
    default:
      fail("[{}] expected f32 or f64, got {}", op, name_of(dtype));
  }
}

}  // namespace fern
