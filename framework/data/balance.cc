#include "framework/data/balance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/core/error.h"

namespace fern {

namespace {

std::vector<double> temperature(const std::vector<double>& sizes, double alpha) {
  if (!(alpha >= 0 && alpha <= 1))
    fail_usage("[balance] expected an alpha of 0 to 1, got {}: 0 draws languages equally, 1 by size", alpha);
  const double total = std::accumulate(sizes.begin(), sizes.end(), 0.0);
  std::vector<double> shares;
  for (const double size : sizes) shares.push_back(size > 0 ? std::pow(size / total, alpha) : 0.0);
  return shares;
}

std::vector<double> unimax(const std::vector<double>& sizes, double max_epochs, double budget) {
  if (!(max_epochs > 0)) fail_usage("[balance] expected max_epochs above 0, got {}", max_epochs);
  if (!(budget > 0)) fail_usage("[balance] UniMax needs a budget above 0, got {}", budget);
  std::vector<size_t> smallest_first;
  for (size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] > 0) smallest_first.push_back(i);
  std::stable_sort(smallest_first.begin(), smallest_first.end(),
                   [&](size_t a, size_t b) { return sizes[a] < sizes[b]; });
  std::vector<double> drawn(sizes.size(), 0.0);
  double left = budget;
  for (size_t i = 0; i < smallest_first.size(); ++i) {
    const size_t language = smallest_first[i];
    const double even = left / static_cast<double>(smallest_first.size() - i);
    drawn[language] = std::min(even, max_epochs * sizes[language]);
    left -= drawn[language];
  }
  return drawn;
}

std::vector<double> explicit_weights(const std::vector<double>& sizes, const std::vector<double>& weights) {
  if (weights.size() != sizes.size())
    fail_usage("[balance] expected {} weights, one per language, got {}", sizes.size(), weights.size());
  std::vector<double> shares;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!(weights[i] >= 0) || std::isinf(weights[i]))
      fail_usage("[balance] expected weights of 0 or more, got {} for language {}", weights[i], i);
    shares.push_back(sizes[i] > 0 ? weights[i] : 0.0);
  }
  return shares;
}

std::vector<double> unscaled(const BalanceRule& rule, const std::vector<double>& sizes, double budget) {
  switch (rule.kind) {
    case BalanceKind::kTemperature:
      return temperature(sizes, rule.alpha);
    case BalanceKind::kUniMax:
      return unimax(sizes, rule.max_epochs, budget);
    case BalanceKind::kWeights:
      return explicit_weights(sizes, rule.weights);
  }
  fail("[balance] unknown rule {}", static_cast<int>(rule.kind));
}

}  // namespace

std::vector<double> balance(const BalanceRule& rule, const std::vector<double>& sizes, double budget) {
  for (size_t i = 0; i < sizes.size(); ++i)
    if (!(sizes[i] >= 0) || std::isinf(sizes[i]))
      fail_usage("[balance] expected sizes of 0 or more, got {} for language {}", sizes[i], i);
  if (std::none_of(sizes.begin(), sizes.end(), [](double size) { return size > 0; }))
    fail_usage("[balance] no language has any data");
  std::vector<double> shares = unscaled(rule, sizes, budget);
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  if (!(total > 0)) fail_usage("[balance] every language with data has weight 0: raise one");
  for (double& share : shares) share /= total;
  return shares;
}

}  // namespace fern
