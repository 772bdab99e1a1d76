#include "framework/sparsity/budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "framework/core/error.h"
#include "framework/sparsity/butterfly.h"
#include "framework/sparsity/top_k.h"

namespace fern {

namespace {

double towards(double initial, double last, double progress) { return initial + (last - initial) * progress; }

// The weight's entry of sparsity.layers, if it has one.
std::optional<size_t> entry_of(const SparsityConfig& config, const SparseWeight& weight) {
  for (size_t i = 0; i < config.layer_names.size(); ++i)
    if (has_part(weight.name, config.layer_names[i])) return i;
  return std::nullopt;
}

void check_weights(const SparsityConfig& config, std::span<const SparseWeight> weights) {
  for (const SparseWeight& weight : weights) {
    check_blocks(weight.rows, weight.columns, weight.block);
    if (static_cast<uint64_t>(weight.blocks()) >= kMostPositions)
      fail_usage("{}: expected fewer than {} blocks, got {}; take larger blocks (sparsity.block)",
                 weight.name, kMostPositions, weight.blocks());
    if (config.pattern == PatternKind::kNm && weight.columns % config.m != 0)
      fail_usage("sparsity.m = {}: expected a divisor of the {} columns of {}", config.m, weight.columns,
                 weight.name);
  }
  for (const std::string& name : config.layer_names)
    if (std::none_of(weights.begin(), weights.end(),
                     [&](const SparseWeight& weight) { return has_part(weight.name, name); }))
      fail_usage(
          "sparsity.layers: expected whole parts of the name of a sparse weight, such as {}, got \"{}\"",
          weights.empty() ? "q_proj" : weights.front().name, name);
}

// Blocks of each weight as a real number, by density ~ (rows + columns) / (rows * columns).
std::vector<double> erdos_renyi(const std::vector<const SparseWeight*>& weights, double total) {
  std::vector<double> shares(weights.size());
  std::vector<bool> full(weights.size(), false);
  const auto raw = [&](size_t i) {
    const auto rows = static_cast<double>(weights[i]->rows),
               columns = static_cast<double>(weights[i]->columns);
    return (rows + columns) / (rows * columns);
  };
  const auto blocks = [&](size_t i) { return static_cast<double>(weights[i]->blocks()); };
  for (bool again = true; again;) {
    double left = total, mass = 0;
    for (size_t i = 0; i < weights.size(); ++i) full[i] ? left -= blocks(i) : mass += raw(i) * blocks(i);
    again = false;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (full[i]) continue;
      shares[i] = left / mass * raw(i) * blocks(i);
      if (shares[i] > blocks(i)) full[i] = again = true;
    }
  }
  for (size_t i = 0; i < weights.size(); ++i)
    if (full[i]) shares[i] = blocks(i);
  return shares;
}

std::vector<double> shares_of(Distribution distribution, const std::vector<const SparseWeight*>& weights,
                              double total, double all) {
  if (distribution != Distribution::kUniform) return erdos_renyi(weights, total);
  std::vector<double> shares;
  for (const SparseWeight* weight : weights)
    shares.push_back(static_cast<double>(weight->blocks()) * (total / all));
  return shares;
}

// What the pattern's rule makes of a share of blocks.
int64_t by_rule(const SparsityConfig& config, const SparseWeight& weight, double share, double progress) {
  switch (config.pattern) {
    case PatternKind::kFanIn:
      return weight.rows * std::llround(share / static_cast<double>(weight.rows));
    case PatternKind::kNm: {
      const double density = 1 - towards(config.initial_sparsity, config.target_sparsity(), progress);
      const double of_group = std::ceil(static_cast<double>(config.m) * density - 1e-9);
      return weight.blocks() / config.m * std::max(config.n, static_cast<int64_t>(of_group));
    }
    case PatternKind::kButterfly:
      return most_butterfly_blocks(weight, std::llround(share));
    default:
      return std::llround(share);
  }
}

void expect_placed(const SparsityConfig& config, const SparseWeight& weight, double share, int64_t blocks) {
  if (blocks > 0) return;
  fail_usage(
      "sparsity.sparsity = {}: {} is {} x {} in blocks of {} x {} and gets {:.3g} of its {} blocks, too few "
      "for pattern \"{}\" and distribution \"{}\"; lower the sparsity, take smaller blocks (sparsity.block), "
      "or in a recipe give it a sparsity of its own (sparsity.layers)",
      config.target_sparsity(), weight.name, weight.rows, weight.columns, weight.block.rows,
      weight.block.columns, share, weight.blocks(), name_of(config.pattern),
      kDistributionNames[static_cast<size_t>(config.distribution)]);
}

}  // namespace

std::vector<int64_t> largest_remainders(const std::vector<double>& shares, int64_t total) {
  std::vector<int64_t> counts;
  for (const double share : shares) counts.push_back(static_cast<int64_t>(share));
  std::vector<size_t> order(shares.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return shares[a] - static_cast<double>(counts[a]) > shares[b] - static_cast<double>(counts[b]);
  });
  int64_t left = total - std::accumulate(counts.begin(), counts.end(), int64_t{0});
  for (size_t i = 0; left > 0; ++i, --left) ++counts[order[i]];
  return counts;
}

std::vector<int64_t> block_budget(const SparsityConfig& config, std::span<const SparseWeight> weights,
                                  double progress) {
  check_weights(config, weights);
  std::vector<double> shares(weights.size());
  std::vector<int64_t> counts(weights.size());
  std::vector<const SparseWeight*> common;
  std::vector<size_t> places;
  double all = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto blocks = static_cast<double>(weights[i].blocks());
    if (const auto entry = entry_of(config, weights[i])) {
      shares[i] = blocks * (1 - towards(config.initial_sparsity, config.layer_sparsities[*entry], progress));
      counts[i] = std::llround(shares[i]);
    } else {
      common.push_back(&weights[i]);
      places.push_back(i);
      all += blocks;
    }
  }
  const double density = 1 - towards(config.initial_sparsity, config.target_sparsity(), progress);
  const auto total = static_cast<double>(std::llround(density * all));
  const std::vector<double> common_shares = shares_of(config.distribution, common, total, all);
  const std::vector<int64_t> common_counts = largest_remainders(common_shares, static_cast<int64_t>(total));
  for (size_t i = 0; i < common.size(); ++i) {
    shares[places[i]] = common_shares[i];
    counts[places[i]] = common_counts[i];
  }
  const bool ruled = config.pattern != PatternKind::kUnstructured && config.pattern != PatternKind::kBlock;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (ruled) counts[i] = by_rule(config, weights[i], shares[i], progress);
    expect_placed(config, weights[i], shares[i], counts[i]);
  }
  return counts;
}

}  // namespace fern
