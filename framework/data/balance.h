// Balance rules: how often each language is drawn. One rule drives the tokenizer's text, training and macro
// averages.
#pragma once

#include <string>
#include <vector>

namespace fern {

enum class BalanceKind { kTemperature, kUniMax, kWeights };

struct BalanceRule {
  BalanceKind kind = BalanceKind::kTemperature;
  double alpha = 0.3;       // temperature: q_l ~ size_l^alpha (Conneau and Lample 2019, section 3.1)
  double max_epochs = 4.0;  // UniMax: cap N on epochs of any language (Chung et al. 2023, algorithm 1)
  std::vector<double> weights = {};  // explicit, one per language in the order of `sizes`
};

// Shares q_l, summing to 1, in the order given. `sizes` are bytes or tokens, never documents; `budget` is how
// much of the same unit will be drawn in all (UniMax only). A language of size 0 gets share 0. Errors
// (kBadUsage): no language with data, a negative size, alpha outside [0, 1], weights of another count or
// negative or all zero.
std::vector<double> balance(const BalanceRule& rule, const std::vector<double>& sizes, double budget);

}  // namespace fern
