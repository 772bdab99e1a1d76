#include "framework/train/topology_change.h"

#include <algorithm>
#include <limits>

#include "framework/core/error.h"
#include "framework/sparsity/value_moves.h"

namespace fern {

namespace {

// Where everything was.
class Before {
 public:
  explicit Before(const Parameters& parameters) : sparse_(parameters.sparse_runs()) {
    for (const Parameter& parameter : parameters.list()) offsets_.push_back(parameter.offset);
  }
  int64_t offset(int parameter) const { return offsets_[static_cast<size_t>(parameter)]; }
  // Moves of a run's values to a new pattern. A run that had no pattern had all its weights, row by row.
  template <typename Visit>
  void for_each_move_of(ParameterRun run, const Pattern& now, const Visit& visit) const {
    const auto there = std::ranges::find(sparse_, run, &SparseRun::run);
    if (there != sparse_.end())
      for_each_move(now, there->pattern, visit);
    else
      for_each_move_from_dense(now, visit);
  }

 private:
  std::vector<SparseRun> sparse_;
  std::vector<int64_t> offsets_;
};

// Calls visit(ValueMove) for the new flat buffers and where all was before, in their order, without padding.
template <typename Visit>
void for_each_move(const Parameters& parameters, const Before& before, const Visit& visit) {
  const std::vector<Parameter>& list = parameters.list();
  for (int i = 0; i < static_cast<int>(list.size());) {
    const Parameter& parameter = list[static_cast<size_t>(i)];
    const auto run = std::ranges::find_if(parameters.sparse_runs(),
                                          [&](const SparseRun& sparse) { return sparse.run.first == i; });
    if (run == parameters.sparse_runs().end()) {
      visit(ValueMove{parameter.offset, before.offset(i), parameter.elements()});
      ++i;
      continue;
    }
    before.for_each_move_of(run->run, run->pattern, [&](ValueMove move) {
      visit(ValueMove{parameter.offset + move.to, move.is_new() ? -1 : before.offset(i) + move.from,
                      move.count});
    });
    i += run->run.count;
  }
}

// Fills what is kept of a flat buffer from the whole of what it was.
void fill(std::span<float> values, const Slices& slices, std::span<const float> whole,
          const Parameters& parameters, const Before& before) {
  std::ranges::fill(values, 0.0F);
  for_each_move(parameters, before, [&](ValueMove move) {
    if (move.is_new()) return;
    slices.for_each_in({move.to, move.to + move.count}, [&](Slice kept, int64_t first) {
      std::copy_n(whole.begin() + move.from + (kept.begin - move.to), kept.elements(),
                  values.begin() + first);
    });
  });
}

// Weights that are new belong to a generation of their own.
WeightAges aged(const WeightAges& was, const Parameters& parameters, const Before& before, int64_t updates) {
  expect(was.births.size() <= std::numeric_limits<uint16_t>::max(),
         "expected at most {} topology updates that grow weights, got more; raise sparsity.interval",
         std::numeric_limits<uint16_t>::max());
  const auto newest = static_cast<uint16_t>(was.births.size());
  WeightAges ages = {.generation = std::vector<uint16_t>(static_cast<size_t>(parameters.padded_elements())),
                     .births = was.births};
  for_each_move(parameters, before, [&](ValueMove move) {
    const auto out = ages.generation.begin() + move.to;
    if (move.is_new())
      std::fill_n(out, move.count, newest);
    else if (!was.generation.empty())
      std::copy_n(was.generation.begin() + move.from, move.count, out);
  });
  ages.births.push_back(updates);
  return ages;
}

}  // namespace

void change_topology(Parameters& parameters, AdamW& optimizer, GradReducer& gradients,
                     std::vector<SparseRun> next, int64_t updates, bool ages) {
  const Before before(parameters);
  // The gradients are not needed between two steps: what a buffer held is put aside there.
  const std::span<float> aside = parameters.gradients().values<float>();
  std::ranges::copy(parameters.values().values<float>(), aside.begin());
  parameters.set_patterns(std::move(next));
  fill(parameters.values().values<float>(), {0, parameters.padded_elements()}, aside, parameters, before);
  const Slices slices = gradients.slices_of(parameters);
  for (const bool is_first : {true, false}) {
    gradients.gather_everywhere(
        aside, (is_first ? optimizer.first_moment() : optimizer.second_moment()).values<float>());
    const Tensor room = is_first ? optimizer.first_moment_room() : optimizer.second_moment_room();
    fill(room.rows(0, slices.elements()).values<float>(), slices, aside, parameters, before);
  }
  optimizer.set_layout(parameters, slices);
  if (ages) optimizer.set_ages(aged(optimizer.ages(), parameters, before, updates));
  gradients.set_layout(parameters);
  parameters.give_back_unused();
  give_back(optimizer.first_moment_room(), slices.elements());
  give_back(optimizer.second_moment_room(), slices.elements());
}

}  // namespace fern
