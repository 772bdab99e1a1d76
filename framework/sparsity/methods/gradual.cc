// Gradual pruning by magnitude along s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3: Zhu and Gupta 2017,
// "To prune, or not to prune", section 3.
#include <cmath>

#include "framework/sparsity/methods/pruning.h"
#include "framework/sparsity/methods/table.h"

namespace fern {

namespace {

class Gradual final : public MagnitudePruning {
 public:
  using MagnitudePruning::MagnitudePruning;

  bool updates_after(int64_t step) const override {
    return step > 0 && step % config().interval == 0 && step >= first() && step <= last();
  }

 private:
  double first() const { return config().begin * static_cast<double>(setup().train_steps); }
  // The last update within the schedule, at which it arrives.
  double last() const {
    const auto interval = static_cast<double>(config().interval);
    return std::floor(config().end * static_cast<double>(setup().train_steps) / interval) * interval;
  }
  double progress(int64_t step) const override {
    const double length = last() - first();
    const double left = length > 0 ? 1 - (static_cast<double>(step) - first()) / length : 0;
    return 1 - left * left * left;
  }
};

}  // namespace

std::unique_ptr<Method> make_gradual(MethodSetup setup) {
  return std::make_unique<Gradual>(std::move(setup));
}

}  // namespace fern
