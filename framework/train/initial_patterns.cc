#include "framework/train/initial_patterns.h"

#include <numeric>
#include <span>

#include "framework/core/error.h"
#include "framework/sparsity/product_choice.h"

namespace fern {

namespace {

bool is_sparse(const SparsityConfig& config, const Parameters& parameters, ParameterRun run) {
  return is_sparse(config, parameters.list()[static_cast<size_t>(run.first)].name);
}

std::vector<SparseWeight> sparse_weights(const SparsityConfig& config, const Parameters& parameters) {
  std::vector<SparseWeight> weights;
  for (const ParameterRun run : parameters.runs()) {
    if (!is_sparse(config, parameters, run)) continue;
    for (int i = run.first; i < run.first + run.count; ++i) {
      const Parameter& parameter = parameters.list()[static_cast<size_t>(i)];
      weights.push_back({parameter.name, parameter.shape[0], parameter.shape[1], config.block_shape()});
    }
  }
  return weights;
}

// Pruning step by step passes by every density from the first to the last; pruning at once arrives at one
// that is known, unless weights compete with those of other matrices.
bool may_be_hardly_sparse_later(const Method& method, size_t weight, ParameterRun run,
                                const Pattern& pattern) {
  const SparsityConfig& config = method.setup().config;
  const bool at_once =
      config.method == SparsityMethod::kMagnitude || config.method == SparsityMethod::kRandom;
  if (config.method == SparsityMethod::kGradual || (at_once && config.global))
    return prefers_dense(pattern, DType::kF32);
  if (!at_once) return config.global;
  const auto budget = std::span(method.budget()).subspan(weight, static_cast<size_t>(run.count));
  const int64_t blocks = std::accumulate(budget.begin(), budget.end(), int64_t{0});
  const double all = static_cast<double>(pattern.block_rows() * pattern.block_columns());
  return prefers_dense(static_cast<double>(blocks) / all, pattern.block(), DType::kF32);
}

}  // namespace

std::unique_ptr<Method> make_method(const SparsityConfig& config, const Parameters& parameters,
                                    int64_t train_steps, uint64_t seed) {
  if (config.method == SparsityMethod::kDense) return nullptr;
  std::vector<SparseWeight> weights = sparse_weights(config, parameters);
  if (weights.empty())
    fail_usage(
        "sparsity.method = \"{}\": expected some weights to be sparse, got none; set sparsity.attention or "
        "sparsity.feed_forward",
        name_of(config.method));
  return make_method(
      {.config = config, .weights = std::move(weights), .train_steps = train_steps, .seed = seed});
}

std::vector<SparseRun> runs_of(const Parameters& parameters, const Method& method,
                               std::vector<Pattern> patterns) {
  std::vector<SparseRun> sparse;
  size_t weight = 0;
  for (const ParameterRun run : parameters.runs()) {
    if (!is_sparse(method.setup().config, parameters, run)) continue;
    const auto count = static_cast<size_t>(run.count);
    sparse.push_back({run, Pattern::stacked(std::span(patterns).subspan(weight, count))});
    weight += count;
  }
  return sparse;
}

void leave_full_dense(std::vector<SparseRun>& sparse, const Parameters& parameters) {
  std::erase_if(sparse, [&](const SparseRun& run) {
    return run.pattern.density() == 1 && parameters.pattern_of(run.run) == nullptr;
  });
}

void set_initial_patterns(Parameters& parameters, const Method& method) {
  std::vector<Pattern> patterns;
  for (size_t i = 0; i < method.setup().weights.size(); ++i) patterns.push_back(method.initial(i));
  set_first_patterns(parameters, method, runs_of(parameters, method, std::move(patterns)));
}

void set_first_patterns(Parameters& parameters, const Method& method, std::vector<SparseRun> sparse) {
  std::vector<ParameterRun> later;
  size_t weight = 0;
  for (const auto& [run, pattern] : sparse) {
    if (may_be_hardly_sparse_later(method, weight, run, pattern)) later.push_back(run);
    weight += static_cast<size_t>(run.count);
  }
  leave_full_dense(sparse, parameters);
  parameters.set_patterns(std::move(sparse));
  parameters.set_hardly_sparse_later(std::move(later));
}

}  // namespace fern
