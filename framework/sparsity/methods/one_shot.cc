// Dense until the share `end` of the run, then pruned once: by magnitude (Han et al. 2015, "Learning both
// weights and connections") or, to compare, at random.
#include <algorithm>
#include <cmath>

#include "framework/sparsity/methods/pruning.h"
#include "framework/sparsity/methods/table.h"
#include "framework/sparsity/pattern_making.h"

namespace fern {

namespace {

class Magnitude : public MagnitudePruning {
 public:
  using MagnitudePruning::MagnitudePruning;

  bool updates_after(int64_t step) const override {
    const double end = config().end * static_cast<double>(setup().train_steps);
    return step == std::max<int64_t>(std::llround(end), 1);
  }

 private:
  double progress(int64_t) const override { return 1; }
};

class Random final : public Magnitude {
 public:
  using Magnitude::Magnitude;
  std::vector<Change> counts(int64_t, std::span<const WeightView> views) const override {
    std::vector<Change> changes;
    for (size_t i = 0; i < views.size(); ++i) changes.push_back({views[i].blocks() - budget()[i], 0});
    return changes;
  }
  // Every block exists until now, so those of a new random pattern do.
  Pattern next(int64_t, size_t index, const WeightView&, Change) const override {
    return initial_pattern(config(), weight(index), budget()[index], setup().seed);
  }
};

// Pruned from dense, whatever another method would begin with.
MethodSetup from_dense(MethodSetup setup) {
  setup.config.initial_sparsity = 0;
  return setup;
}

}  // namespace

std::unique_ptr<Method> make_magnitude(MethodSetup setup) {
  return std::make_unique<Magnitude>(from_dense(std::move(setup)));
}
std::unique_ptr<Method> make_random(MethodSetup setup) {
  return std::make_unique<Random>(from_dense(std::move(setup)));
}

}  // namespace fern
