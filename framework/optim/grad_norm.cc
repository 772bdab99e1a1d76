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

// The same without what another rank counts: `chunk` is its number.
double square_sum_of_counted(const Parameters& parameters, int64_t chunk) {
  std::array<float, kParameterChunk> counted;
  const int64_t begin = chunk * kParameterChunk;
  std::copy_n(parameters.gradients().as<float>() + begin, kParameterChunk, counted.begin());
  for (const Parameter& parameter : parameters.list()) {
    if (parameter.place.counted) continue;
    const int64_t first = std::clamp(parameter.offset - begin, int64_t{0}, kParameterChunk),
                  end = std::clamp(parameter.offset + parameter.elements() - begin, int64_t{0},
                                   kParameterChunk);
    std::fill(counted.begin() + first, counted.begin() + end, 0.0f);
  }
  return square_sum_of_chunk(counted.data());
}

}  // namespace

int64_t gradient_chunks(const Parameters& parameters) {
  return parameters.padded_elements() / kParameterChunk;
}

void square_sums(std::span<double> squares, const Parameters& parameters, const Slices& slices) {
  expect(static_cast<int64_t>(squares.size()) == gradient_chunks(parameters),
         "[grad_norm] expected {} chunks, got {}", gradient_chunks(parameters), squares.size());
  std::fill(squares.begin(), squares.end(), 0.0);
  const float* gradients = parameters.gradients().as<float>();
  const bool counts_all =
      std::ranges::all_of(parameters.list(), [](const Parameter& p) { return p.place.counted; });
  for (const Slice& slice : slices.list()) {
    expect(slice.begin % kParameterChunk == 0 && slice.end % kParameterChunk == 0,
           "[grad_norm] expected a slice of whole chunks of {}, got [{}, {})", kParameterChunk, slice.begin,
           slice.end);
#pragma omp parallel for schedule(static)
    for (int64_t chunk = slice.begin / kParameterChunk; chunk < slice.end / kParameterChunk; ++chunk)
      squares[static_cast<size_t>(chunk)] = counts_all
                                                ? square_sum_of_chunk(gradients + chunk * kParameterChunk)
                                                : square_sum_of_counted(parameters, chunk);
  }
}

double norm_of(std::span<const double> squares) {
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum);
}

}  // namespace fern
