// The arms of an equal-budget comparison: one recipe, trained in several ways with equally many weights.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/model/config.h"
#include "recipes/recipe.h"

namespace fern {

struct Arm {
  std::string name;
  std::vector<std::string> overrides;  // of the recipe, as --set takes them
};

// Every arm there is; those before `dense`, the model with all its weights, are compared unless the user says
// otherwise.
std::span<const std::string_view> arm_names();

// Weights of `model` when its sparse matrices have lost a share `sparsity`: the budget of every arm.
int64_t budget_weights(const ModelConfig& model, const Recipe& recipe, double sparsity);

// A dense model of `weights` weights, within kBudgetTolerance: `model` with as many layers and heads, but
// narrower, and with the ratio of ffn to hidden nearest to the model's. Errors (kBadUsage): there is none.
inline constexpr double kBudgetTolerance = 0.02;
ModelConfig smaller_dense(const ModelConfig& model, int64_t weights);

// Errors (kBadUsage): a name that is none; no block divides the matrices (block_rigl); see smaller_dense().
std::vector<Arm> make_arms(const std::vector<std::string>& names, const Recipe& recipe,
                           const ModelConfig& model, double sparsity);

}  // namespace fern
