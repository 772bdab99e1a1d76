#include "framework/core/error.h"
#include "recipes/checks.h"
#include "recipes/places.h"

namespace fern {

void check_sparsity(const Recipe& recipe) {
  with_places(recipe, [&] { validate(recipe.sparsity, recipe.train.steps); });
  const SparsityMethod method = recipe.sparsity.method;
  if (method != SparsityMethod::kDense && recipe.sparsity.head && !recipe.sparsity.embedding &&
      recipe.model.tie_embeddings)
    fail_usage(
        "{}: sparsity.head = true: expected sparsity.embedding = true beside it, since "
        "model.tie_embeddings = true makes both one matrix; or untie them",
        recipe.where("sparsity.head"));
  const bool begins_sparse = method != SparsityMethod::kDense && !traits_of(method).prunes;
  if (!recipe.topology.empty() && !begins_sparse)
    fail_usage(
        "{}: sparsity.topology: expected sparsity.method static, set, rigl or srigl beside it, got \"{}\", "
        "which begins with all weights",
        recipe.where("sparsity.topology"), name_of(method));
}

}  // namespace fern
