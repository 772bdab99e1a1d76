#include "recipes/check.h"

#include "framework/core/error.h"
#include "recipes/checks.h"
#include "recipes/fields.h"

namespace fern {

void check(const Recipe& recipe) {
  for (const Field& field : fields())
    if (field.required && !recipe.places.contains(field.key))
      fail_usage("{}: {} is missing; expected {}. {}", recipe.file.string(), field.key, accepted(field),
                 field.meaning);
  check_model(recipe);
  check_batch(recipe);
  check_mesh(recipe);
  check_schedule(recipe);
  check_sparsity(recipe);
  check_data(recipe);
}

}  // namespace fern
