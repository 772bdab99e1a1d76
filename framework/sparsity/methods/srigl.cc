// SRigL: RigL with constant fan-in, in which a neuron with too few salient weights is given up and the others
// share its weights. Lasby et al. 2023, "Dynamic sparse training with structured sparsity", section 3.
#include <algorithm>
#include <cmath>
#include <functional>

#include "framework/sparsity/block_choice.h"
#include "framework/sparsity/methods/scheduled_drops.h"
#include "framework/sparsity/methods/table.h"

namespace fern {

namespace {

// One row of the weight at an update. Weights are worths (top_k.h), best first.
struct Neuron {
  std::vector<uint64_t> weights, candidates;
  int64_t salient = 0;  // of both: among the largest of the layer
  bool active = false;
};

// The `count` best of `worths` are those at or above this.
uint64_t least_of_best(std::vector<uint64_t> worths, int64_t count) {
  if (count >= static_cast<int64_t>(worths.size())) return 0;
  std::nth_element(worths.begin(), worths.begin() + count, worths.end(), std::greater<>());
  return worths[static_cast<size_t>(count)] + 1;
}

int64_t at_least(std::span<const uint64_t> best_first, uint64_t least) {
  return std::ranges::upper_bound(best_first, least, std::greater<>()) - best_first.begin();
}

std::vector<Neuron> neurons_of(const WeightView& view, std::span<const uint64_t> weights,
                               std::span<const uint64_t> candidates) {
  std::vector<Neuron> neurons(static_cast<size_t>(view.pattern.rows()));
  const auto columns = static_cast<uint64_t>(view.pattern.columns());
  for (const uint64_t worth : weights) neurons[position_of(worth) / columns].weights.push_back(worth);
  for (const uint64_t worth : candidates) neurons[position_of(worth) / columns].candidates.push_back(worth);
  for (Neuron& neuron : neurons) std::ranges::sort(neuron.weights, std::greater<>());
  return neurons;
}

class Srigl final : public ScheduledDrops {
 public:
  using ScheduledDrops::ScheduledDrops;

  std::vector<Change> counts(int64_t step, std::span<const WeightView> views) const override {
    std::vector<Change> changes;
    for (const WeightView& view : views) {
      const int64_t share = std::llround(drop_share(step) * static_cast<double>(view.pattern.blocks()));
      const int64_t count = std::min(share, static_cast<int64_t>(view.candidates.size()));
      changes.push_back({count, count});
    }
    return changes;
  }

  // As many weights as the active rows share evenly: the largest multiple of their number within the budget.
  Pattern next(int64_t, size_t index, const WeightView& view, Change change) const override {
    const std::vector<uint64_t> weights = block_worths(view.pattern, view.values);
    std::vector<uint64_t> candidates;
    for (const Candidate& candidate : view.candidates)
      if (!view.pattern.row(static_cast<int64_t>(candidate.position) / view.pattern.columns()).empty())
        candidates.push_back(worth_of(candidate.score, candidate.position));
    const uint64_t kept = least_of_best(weights, view.pattern.blocks() - change.drop),
                   grown = least_of_best(candidates, change.grow);
    std::vector<Neuron> neurons = neurons_of(view, weights, candidates);
    for (Neuron& neuron : neurons)
      neuron.salient = at_least(neuron.weights, kept) + at_least(neuron.candidates, grown);
    return rewired(view.pattern, neurons, kept, fan_in_after_ablation(index, neurons));
  }

 private:
  // Marks the neurons that stay, which those with the most salient weights always do; once given up, a neuron
  // is so for good. Returns the weights of each.
  int64_t fan_in_after_ablation(size_t index, std::vector<Neuron>& neurons) const {
    const auto most_salient =
        static_cast<double>(std::ranges::max_element(neurons, {}, &Neuron::salient)->salient);
    int64_t active = 0, most = weight(index).columns;
    for (Neuron& neuron : neurons) {
      const double wanted = config().ablation * static_cast<double>(neuron.weights.size());
      neuron.active =
          !neuron.weights.empty() && static_cast<double>(neuron.salient) >= std::min(wanted, most_salient);
      if (!neuron.active) continue;
      ++active;
      most = std::min(most, static_cast<int64_t>(neuron.weights.size() + neuron.candidates.size()));
    }
    return active == 0 ? 0 : std::min(most, budget()[index] / active);
  }

  // Each active row keeps its weights among the `kept`, then takes candidates, then weights that would go.
  static Pattern rewired(const Pattern& now, const std::vector<Neuron>& neurons, uint64_t kept,
                         int64_t fan_in) {
    std::vector<int64_t> row_begin = {0};
    std::vector<uint16_t> index;
    for (const Neuron& neuron : neurons) {
      if (neuron.active) {
        const int64_t staying = std::min(at_least(neuron.weights, kept), fan_in);
        std::vector<uint64_t> order(neuron.weights.begin(), neuron.weights.begin() + staying);
        order.insert(order.end(), neuron.candidates.begin(), neuron.candidates.end());
        order.insert(order.end(), neuron.weights.begin() + staying, neuron.weights.end());
        order.resize(static_cast<size_t>(fan_in));
        for (const uint64_t worth : order)
          index.push_back(static_cast<uint16_t>(position_of(worth) % static_cast<uint64_t>(now.columns())));
        std::sort(index.begin() + row_begin.back(), index.end());
      }
      row_begin.push_back(static_cast<int64_t>(index.size()));
    }
    return {now.rows(), now.columns(), {}, std::move(row_begin), std::move(index)};
  }
};

}  // namespace

std::unique_ptr<Method> make_srigl(MethodSetup setup) { return std::make_unique<Srigl>(std::move(setup)); }

}  // namespace fern
