#include "launch/product_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "framework/sparsity/product_choice.h"

namespace fern {

namespace {

constexpr int64_t kMostTokens = 1024;

// Weights that cost the same: rows, columns, side of the blocks, density in per cent.
using Kind = std::tuple<int64_t, int64_t, int64_t, int64_t>;

Kind kind_of(const Pattern& pattern) {
  return {pattern.rows(), pattern.columns(), pattern.block().rows, std::llround(100 * pattern.density())};
}

std::string line_of(const Pattern& pattern, int64_t count, DType dtype, int64_t tokens) {
  const ProductCosts costs = measure_products(pattern, dtype, tokens);
  const double gain = costs.dense_s / costs.sparse_s;
  const bool dense = prefers_dense(pattern, dtype);
  constexpr double kNoise = 0.9;
  const bool slower = dense ? gain > 1 / kNoise : gain < kNoise;
  return fmt::format(
      "products of {} x {} at density {:.2f} ({} of them): sparse {:.2f} times as fast as dense; {}{}",
      pattern.rows(), pattern.columns(), pattern.density(), count, gain,
      dense ? "multiplied dense, with zeros" : "multiplied sparse",
      slower ? ", which is the slower way on this machine" : "");
}

}  // namespace

std::vector<std::string> product_report(const Parameters& parameters, const ModelConfig& model,
                                        int64_t tokens) {
  std::vector<std::string> lines;
  std::vector<Kind> seen;
  for (const auto& [run, pattern] : parameters.sparse_runs()) {
    const Kind kind = kind_of(pattern);
    if (!parameters.is_multiplied(run) || std::ranges::count(seen, kind) > 0) continue;
    seen.push_back(kind);
    const auto count = std::ranges::count_if(parameters.sparse_runs(), [&](const SparseRun& other) {
      return parameters.is_multiplied(other.run) && kind_of(other.pattern) == kind;
    });
    lines.push_back(line_of(pattern, count, model.dtype, std::min(tokens, kMostTokens)));
  }
  return lines;
}

size_t product_report_bytes(const Parameters& parameters, const ModelConfig& model, int64_t tokens) {
  size_t most = 0;
  for (const auto& [run, pattern] : parameters.sparse_runs())
    if (parameters.is_multiplied(run))
      most = std::max(most, measuring_bytes(pattern, model.dtype, std::min(tokens, kMostTokens)));
  return most;
}

}  // namespace fern
