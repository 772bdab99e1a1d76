#include "framework/optim/grad_norm.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "framework/core/error.h"

namespace fern {

namespace {

// Eight running sums in a fixed pattern, whatever the width of the machine's vectors. The square of an f32 is
// exact in f64, so a fused multiply-add rounds no differently.
double square_sum_of_chunk(const float* values) {
  constexpr int64_t kLanes = 8;
  static_assert(kParameterChunk % kLanes == 0);
  std::array<double, kLanes> sums{};
  for (int64_t i = 0; i < kParameterChunk; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = static_cast<double>(values[i + lane]);
      sums[static_cast<size_t>(lane)] += value * value;
    }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

int64_t gradient_chunks(const Parameters& parameters) {
  return parameters.padded_elements() / kParameterChunk;
}

void square_sums(std::span<double> squares, const Parameters& parameters, Slice slice) {
  expect(static_cast<int64_t>(squares.size()) == gradient_chunks(parameters),
         "[grad_norm] expected {} chunks, got {}", gradient_chunks(parameters), squares.size());
  expect(slice.begin % kParameterChunk == 0 && slice.end % kParameterChunk == 0,
         "[grad_norm] expected a slice of whole chunks of {}, got [{}, {})", kParameterChunk, slice.begin,
         slice.end);
  std::fill(squares.begin(), squares.end(), 0.0);
  const float* gradients = parameters.gradients().as<float>();
#pragma omp parallel for schedule(static)
  for (int64_t chunk = slice.begin / kParameterChunk; chunk < slice.end / kParameterChunk; ++chunk)
    squares[static_cast<size_t>(chunk)] = square_sum_of_chunk(gradients + chunk * kParameterChunk);
}

double norm_of(std::span<const double> squares) {
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum);
}

}  // namespace fern
