// Where in a recipe an error comes from that lies below recipes/.
#pragma once

#include <type_traits>

#include "framework/core/error.h"
#include "recipes/recipe.h"

namespace fern {

// Throws `error` again. Where it is bad usage and names keys of a recipe, in full ("sparsity.block"), it
// begins with where the first of them that the recipe sets was set: of none, with the file.
[[noreturn]] void fail_at_place(const Recipe& recipe, const Error& error);

// What `work` returns; its errors go through fail_at_place().
template <typename Work>
std::invoke_result_t<Work> with_places(const Recipe& recipe, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    fail_at_place(recipe, error);
  }
}

}  // namespace fern
