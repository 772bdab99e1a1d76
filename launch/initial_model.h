// What a recipe's model begins with: which of its weights exist, and their values, where model.weights or
// sparsity.topology name another model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/sparsity/method.h"
#include "launch/loaded_model.h"
#include "recipes/recipe.h"

namespace fern {

// A run that goes on, and so reads no other model: blocks that its sparse weights began with, empty where the
// method said so itself.
struct ContinuedRun {
  std::vector<int64_t> budget;
};
// Of the checkpoint that the run goes on from; none where it does not say, or where there is no checkpoint.
std::optional<ContinuedRun> continued_run(const std::optional<std::filesystem::path>& checkpoint);

// The model that model.weights names; null where it names none. Where that one is dense and `model` has
// experts, the model that comes of it (train/upcycled_model.h), routers drawn from the recipe's seed. Errors
// (kBadUsage): another model than `model`, naming the sizes; another tokenizer than `tokenizer_sha256`; those
// of find_checkpoint() and expect_upcyclable().
std::unique_ptr<LoadedModel> load_initial_weights(const Recipe& recipe, const ModelConfig& model,
                                                  const std::string& tokenizer_sha256);

// The method of the recipe's [sparsity] (null: dense). Gives the parameters, which are those of `whole` or a
// part of them, the patterns that training begins with, and lays `whole` out as large. It is of the recipe's
// model or of one with fewer layers:
// - those of sparsity.topology; else those of model.weights where it is sparse; their numbers of weights are
//   then the method's budget;
// - where model.weights is dense, what pruning it by magnitude to the method's first budget leaves. `weights`
//   is that model; null, to learn sizes, leaves as many weights elsewhere;
// - else the method's own.
// Where the run is `continued` (else null), patterns of the same sizes, in place of which its checkpoint's
// come.
// REQUIRES: before allocate(). Errors (kBadUsage), with their places (recipes/places.h): patterns that the
// recipe's [sparsity] cannot begin with; those of make_method().
std::unique_ptr<Method> set_recipe_patterns(Parameters& parameters, Parameters& whole, const Recipe& recipe,
                                            const LoadedModel* weights,
                                            const ContinuedRun* continued = nullptr);

// Takes room for every weight that this rank's shares of matrices can come to have, where that is not known:
// weights come and go, or patterns are another model's. REQUIRES: set_recipe_patterns(); before allocate().
void take_room_of_shares(Parameters& parameters, const Parameters& whole, const Recipe& recipe,
                         const ContinuedRun* continued = nullptr);

// The values that training begins with: of `weights`, or where it is null drawn from the recipe's seed.
void set_recipe_values(Parameters& parameters, const Recipe& recipe, const LoadedModel* weights);

}  // namespace fern
