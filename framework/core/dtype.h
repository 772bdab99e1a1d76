// Element types. Activations are f32 or bf16, and f64 for checking gradients. Parameters, their gradients and
// moments, and statistics of activations are never narrower than f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "framework/core/bf16.h"
#include "framework/core/error.h"

namespace fern {

enum class DType : uint8_t { kF32, kBF16, kF64, kI32 };

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 8;
    case DType::kBF16:
      return 2;
    default:
      return 4;
  }
}
// What values of this type are computed and summed in, and what parameters beside them are kept in.
constexpr DType wide_of(DType dtype) { return dtype == DType::kBF16 ? DType::kF32 : dtype; }
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kI32:
      return "i32";
    case DType::kBF16:
      return "bf16";
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
template <>
struct DTypeOf<BF16> {
  static constexpr DType value = DType::kBF16;
};
template <typename T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// Calls `body.template operator()<T>()` with T the C++ type of a floating dtype that parameters may have.
// `op` names the caller in the error.
template <typename Body>
decltype(auto) with_wide_type(std::string_view op, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<float>();
    case DType::kF64:
      return body.template operator()<double>();
    default:
      fail("[{}] expected f32 or f64, got {}", op, name_of(dtype));
  }
}

// The same with T one that activations may have.
template <typename Body>
decltype(auto) with_float_type(std::string_view op, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<float>();
    case DType::kF64:
      return body.template operator()<double>();
    case DType::kBF16:
      return body.template operator()<BF16>();
    default:
      fail("[{}] expected f32, bf16 or f64, got {}", op, name_of(dtype));
  }
}

}  // namespace fern
