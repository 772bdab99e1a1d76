#include "framework/train/topology_change.h"

#include <algorithm>
#include <limits>

#include "framework/core/error.h"
#include "framework/sparsity/for_each_weight.h"

namespace fern {

namespace {

// Where everything was.
class Before {
 public:
  explicit Before(const Parameters& parameters) : sparse_(parameters.sparse_runs()) {
    for (const Parameter& parameter : parameters.list()) offsets_.push_back(parameter.offset);
  }
  int64_t offset(int parameter) const { return offsets_[static_cast<size_t>(parameter)]; }
  // Where each of a run's values was, in the values of the run; -1: nowhere. A run that had no pattern had
  // all its weights, row by row.
  std::vector<int64_t> origins(ParameterRun run, const Pattern& now) const {
    const auto there = std::ranges::find(sparse_, run, &SparseRun::run);
    if (there != sparse_.end()) return value_origins(now, there->pattern);
    std::vector<int64_t> origins;
    for_each_weight(now, 0, now.block_rows(), [&](int64_t row, int64_t column, int64_t) {
      origins.push_back(row * now.columns() + column);
    });
    return origins;
  }

 private:
  std::vector<SparseRun> sparse_;
  std::vector<int64_t> offsets_;
};

// Calls move(to, from, count) for stretches of the new flat buffers and where each was before; `from` is -1
// for weights that were not. In order of `to`; without padding.
template <typename Move>
void for_each_move(const Parameters& parameters, const Before& before, const Move& move) {
  const std::vector<Parameter>& list = parameters.list();
  for (int i = 0; i < static_cast<int>(list.size());) {
    const Parameter& parameter = list[static_cast<size_t>(i)];
    const auto run = std::ranges::find_if(parameters.sparse_runs(),
                                          [&](const SparseRun& sparse) { return sparse.run.first == i; });
    if (run == parameters.sparse_runs().end()) {
      move(parameter.offset, before.offset(i), parameter.elements());
      ++i;
      continue;
    }
    const std::vector<int64_t> origins = before.origins(run->run, run->pattern);
    for (size_t begin = 0, end = 0; begin < origins.size(); begin = end) {
      const bool is_new = origins[begin] < 0;
      for (end = begin + 1;
           end < origins.size() &&
           (is_new ? origins[end] < 0 : origins[end] == origins[begin] + static_cast<int64_t>(end - begin));)
        ++end;
      move(parameter.offset + static_cast<int64_t>(begin), is_new ? -1 : before.offset(i) + origins[begin],
           static_cast<int64_t>(end - begin));
    }
    i += run->run.count;
  }
}

// Fills what is kept of a flat buffer from the whole of what it was.
void fill(std::span<float> values, const Slices& slices, std::span<const float> whole,
          const Parameters& parameters, const Before& before) {
  std::ranges::fill(values, 0.0F);
  for_each_move(parameters, before, [&](int64_t to, int64_t from, int64_t count) {
    if (from < 0) return;
    slices.for_each_in({to, to + count}, [&](Slice kept, int64_t first) {
      std::copy_n(whole.begin() + from + (kept.begin - to), kept.elements(), values.begin() + first);
    });
  });
}

// Weights that are new belong to a generation of their own.
WeightAges aged(WeightAges ages, const Parameters& parameters, const Before& before, int64_t updates) {
  expect(ages.births.size() <= std::numeric_limits<uint16_t>::max(),
         "expected at most {} topology updates that grow weights, got more; raise sparsity.interval",
         std::numeric_limits<uint16_t>::max());
  const auto newest = static_cast<uint16_t>(ages.births.size());
  const std::vector<uint16_t> was = std::move(ages.generation);
  ages.generation.assign(static_cast<size_t>(parameters.padded_elements()), 0);
  for_each_move(parameters, before, [&](int64_t to, int64_t from, int64_t count) {
    const auto out = ages.generation.begin() + to;
    if (from < 0)
      std::fill_n(out, count, newest);
    else if (!was.empty())
      std::copy_n(was.begin() + from, count, out);
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
