// Which weights of another model exist, as training begins with them where sparsity.topology or model.weights
// name one that is sparse.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "framework/model/parameters.h"
#include "framework/sparsity/method.h"
#include "recipes/recipe.h"

namespace fern {

// By the name of the parameter; none of a dense model.
struct KnownPatterns {
  std::filesystem::path checkpoint;
  std::map<std::string, Pattern> by_name;
};

// Of a run or checkpoint. Experts of `parameters` have those of the feed-forward there that they begin as
// copies of (train/upcycled_model.h). Errors: those of find_checkpoint() and read_patterns().
KnownPatterns known_patterns(const std::string& source, const Parameters& parameters);

// They as runs of `parameters`, which are of the recipe's model or of one with fewer layers. REQUIRES: there
// are some. Errors (kBadUsage): patterns that are not of these parameters, that [sparsity] leaves dense or
// has other blocks for, or that break its rule; a method that prunes what is dense.
std::vector<SparseRun> known_runs(const KnownPatterns& known, const Parameters& parameters,
                                  const Recipe& recipe, const Method& method);

}  // namespace fern
