#include "framework/sparsity/prune.h"

#include "framework/core/error.h"

namespace fern {

std::vector<Pattern> prune(const MethodSetup& setup, std::span<const WeightView> views) {
  const SparsityMethod kind = setup.config.method;
  if (!traits_of(kind).at_once)
    fail_usage("sparsity.method = \"{}\": expected \"magnitude\" or \"random\" to prune at once",
               name_of(kind));
  const auto method = make_method(setup);
  for (size_t i = 0; i < views.size(); ++i)
    expect(views[i].pattern.blocks() == setup.weights[i].blocks(),
           "[prune] {}: expected all of its {} blocks, got {}", setup.weights[i].name,
           setup.weights[i].blocks(), views[i].pattern.blocks());
  const std::vector<Change> changes = method->counts(1, views);
  std::vector<Pattern> patterns;
  for (size_t i = 0; i < views.size(); ++i) patterns.push_back(method->next(1, i, views[i], changes[i]));
  return patterns;
}

}  // namespace fern
