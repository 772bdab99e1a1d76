// The checks of a recipe by topic. Each fails as check() does.
#pragma once

#include "recipes/recipe.h"

namespace fern {

void check_model(const Recipe& recipe);     // [model] [model.experts]
void check_batch(const Recipe& recipe);     // [batch]
void check_mesh(const Recipe& recipe);      // [parallel]
void check_schedule(const Recipe& recipe);  // [optimizer] [train]
void check_sparsity(const Recipe& recipe);  // [sparsity]
void check_data(const Recipe& recipe);      // [data] [data.balance]

}  // namespace fern
