#include "framework/train/initial_patterns.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "framework/core/divisors.h"
#include "framework/core/error.h"
#include "framework/model/matrix_share.h"
#include "framework/sparsity/product_choice.h"

namespace fern {

namespace {

const std::string& name_of(const Parameters& parameters, ParameterRun run) {
  return parameters.list()[static_cast<size_t>(run.first)].name;
}

bool is_sparse(const SparsityConfig& config, const Parameters& parameters, ParameterRun run) {
  return is_sparse(config, name_of(parameters, run));
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

// Groups of neighbours in a row have one holder.
void expect_whole_groups(const SparsityConfig& config, const Parameters& parameters, ParameterRun run) {
  if (config.pattern != PatternKind::kNm) return;
  for (int i = run.first; i < run.first + run.count; ++i) {
    const Parameter& share = parameters.list()[static_cast<size_t>(i)];
    const int64_t begin = share.place.begin, columns = share.shape[1], all = share.place.whole;
    if (share.place.dimension == 1 && (begin % config.m != 0 || columns % config.m != 0))
      fail_usage(
          "sparsity.m = {}: a rank holds columns {} to {} of {}, which cuts groups; expected one of {}",
          config.m, begin, begin + columns - 1, share.name,
          fmt::join(divisors(std::gcd(all, std::gcd(begin, columns))), ", "));
  }
}

// Pruning step by step passes by every density from the first to the last; pruning at once arrives at one
// that is known, unless weights compete with those of other matrices.
bool may_be_hardly_sparse_later(const Method& method, size_t weight, ParameterRun run,
                                const Pattern& pattern) {
  const SparsityConfig& config = method.setup().config;
  const MethodTraits& traits = traits_of(config.method);
  if (!traits.prunes) return config.global;
  if (!traits.at_once || config.global) return prefers_dense(pattern, DType::kF32);
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

size_t weight_of(const Method& method, const std::string& name) {
  const std::vector<SparseWeight>& weights = method.setup().weights;
  const auto found = std::ranges::find(weights, name, &SparseWeight::name);
  expect(found != weights.end(), "[sparsity] expected '{}' among the {} sparse weights", name,
         weights.size());
  return static_cast<size_t>(found - weights.begin());
}

std::vector<SparseRun> runs_of(const Parameters& parameters, const Method& method,
                               std::vector<Pattern> patterns) {
  std::vector<SparseRun> sparse;
  for (const ParameterRun run : parameters.runs()) {
    if (!is_sparse(method.setup().config, parameters, run)) continue;
    const size_t first = weight_of(method, name_of(parameters, run));
    sparse.push_back(
        {run, Pattern::stacked(std::span(patterns).subspan(first, static_cast<size_t>(run.count)))});
  }
  return sparse;
}

std::vector<SparseRun> runs_in(const Parameters& parameters, const Parameters& whole,
                               std::vector<SparseRun> sparse) {
  std::vector<SparseRun> here;
  for (auto& [run, pattern] : sparse) {
    const int first = parameters.find(name_of(whole, run));
    if (first >= 0) here.push_back({{first, run.count}, std::move(pattern)});
  }
  return here;
}

std::vector<SparseRun> runs_here(const Parameters& parameters, std::vector<SparseRun> whole) {
  for (auto& [run, pattern] : whole) {
    if (!parameters.is_shared(run)) continue;
    std::vector<Pattern> here;
    int64_t row = 0;
    for (int i = run.first; i < run.first + run.count; ++i) {
      const Parameter& parameter = parameters.list()[static_cast<size_t>(i)];
      const int64_t end = row + parameter.whole_shape()[0];
      here.push_back(share_of(pattern.slice(row, end), parameter));
      row = end;
    }
    pattern = Pattern::stacked(here);
  }
  return whole;
}

void leave_full_dense(std::vector<SparseRun>& sparse, const Parameters& parameters) {
  std::erase_if(sparse, [&](const SparseRun& run) {
    return run.pattern.density() == 1 && parameters.pattern_of(run.run) == nullptr;
  });
}

void set_initial_patterns(Parameters& parameters, const Method& method) {
  std::vector<Pattern> patterns(method.setup().weights.size());
  for (size_t i = 0; i < patterns.size(); ++i)
    if (parameters.find(method.setup().weights[i].name) >= 0) patterns[i] = method.initial(i);
  set_first_patterns(parameters, method, runs_of(parameters, method, std::move(patterns)));
}

void set_first_patterns(Parameters& parameters, const Method& method, std::vector<SparseRun> sparse) {
  std::vector<ParameterRun> later;
  for (const auto& [run, pattern] : sparse) expect_whole_groups(method.setup().config, parameters, run);
  for (const auto& [run, pattern] : sparse)
    if (may_be_hardly_sparse_later(method, weight_of(method, name_of(parameters, run)), run, pattern) ||
        (parameters.is_shared(run) && pattern.density() < 1 && prefers_dense(pattern, DType::kF32)))
      later.push_back(run);
  leave_full_dense(sparse, parameters);
  parameters.set_patterns(runs_here(parameters, std::move(sparse)));
  parameters.set_hardly_sparse_later(std::move(later));
}

void set_first_sizes(Parameters& whole, const Method& method, const std::vector<SparseRun>& sparse) {
  const std::vector<SparseWeight>& weights = method.setup().weights;
  std::vector<int64_t> sizes;
  for (const Parameter& parameter : whole.list()) sizes.push_back(parameter.elements());
  for (size_t i = 0; i < weights.size() && sparse.empty(); ++i)
    sizes[static_cast<size_t>(whole.find(weights[i].name))] =
        method.initial_blocks(i) * weights[i].block.elements();
  for (const auto& [run, pattern] : sparse) {
    int64_t row = 0;
    for (int i = run.first; i < run.first + run.count; ++i) {
      const int64_t end = row + whole.list()[static_cast<size_t>(i)].shape[0];
      sizes[static_cast<size_t>(i)] = pattern.values_before(end) - pattern.values_before(row);
      row = end;
    }
  }
  whole.set_sizes(sizes);
}

void set_room_of_shares(Parameters& parameters, const Parameters& whole) {
  std::vector<int64_t> most;
  for (const Parameter& parameter : parameters.list()) {
    const Parameter& all = whole.list()[static_cast<size_t>(whole.find(parameter.name))];
    most.push_back(std::min(parameter.shape.elements(), all.elements()));
  }
  parameters.set_room(most);
}

}  // namespace fern
