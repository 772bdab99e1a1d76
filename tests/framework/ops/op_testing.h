// What the tests of ops share: random values, gradients by finite differences, f32 against f64, thread
// counts.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "framework/core/rng.h"
#include "framework/core/tensor.h"

namespace fern::testing {

// Largest |f32 - f64| relative to the largest value of the f64 result, per (device, dtype).
struct Tolerance {
  Device device;
  DType dtype;
  double relative;
};
inline constexpr Tolerance kTolerances[] = {{Device::kCpu, DType::kF32, 3e-6}};

// A tensor with its memory.
template <typename T>
class Values {
 public:
  explicit Values(Shape shape) : data_(static_cast<size_t>(shape.elements())), shape_(shape) {}
  // Standard normal values that depend on `seed` only.
  static Values random(Shape shape, uint64_t seed) {
    Values values(shape);
    for (size_t i = 0; i < values.data_.size(); ++i)
      values.data_[i] = static_cast<T>(random_normal(seed, Purpose::kTest, i));
    return values;
  }
  template <typename From>
  static Values from(const std::vector<From>& data, Shape shape) {
    Values values(shape);
    std::transform(data.begin(), data.end(), values.data_.begin(), [](From x) { return static_cast<T>(x); });
    return values;
  }
  Tensor tensor() { return Tensor::of(data_.data(), shape_); }
  std::vector<T>& data() { return data_; }
  T& operator[](int64_t i) { return data_[static_cast<size_t>(i)]; }

 private:
  std::vector<T> data_;
  Shape shape_;
};

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Sets the number of OpenMP threads while it lives.
class Threads {
 public:
  explicit Threads(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~Threads() { omp_set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

// `gradient` is that of `loss` with respect to `values`, which loss() reads anew each time.
inline void expect_gradient(const std::function<double()>& loss, std::vector<double>& values,
                            const std::vector<double>& gradient, double tolerance = 1e-7) {
  ASSERT_EQ(values.size(), gradient.size());
  constexpr double kStep = 1e-5;
  const Threads threads(1);
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    values[i] = value + kStep;
    const double above = loss();
    values[i] = value - kStep;
    const double below = loss();
    values[i] = value;
    ASSERT_NEAR((above - below) / (2 * kStep), gradient[i], tolerance * (1 + std::abs(gradient[i])))
        << "element " << i;
  }
}

inline void expect_close(const std::vector<float>& got, const std::vector<double>& expected, Device device) {
  ASSERT_EQ(got.size(), expected.size());
  double scale = 0, error = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    error = std::max(error, std::abs(static_cast<double>(got[i]) - expected[i]));
  }
  for (const Tolerance& tolerance : kTolerances)
    if (tolerance.device == device) {
      EXPECT_LE(error, tolerance.relative * scale);
    }
}

// run() returns the values an op wrote; they are the same, bit for bit, on any number of threads.
template <typename T>
void expect_bits_independent_of_threads(const std::function<std::vector<T>()>& run) {
  const auto run_on = [&](int count) {
    const Threads threads(count);
    return run();
  };
  const std::vector<T> alone = run_on(1);
  for (int count : {2, 3, 8}) EXPECT_EQ(run_on(count), alone) << count << " threads";
}

// Expects an Error whose message contains `text`.
inline void expect_error(const std::function<void()>& call, const std::string& text) {
  try {
    call();
    FAIL() << "expected an error with: " << text;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

}  // namespace fern::testing
