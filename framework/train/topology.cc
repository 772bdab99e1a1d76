#include "framework/train/topology.h"

#include <algorithm>

#include "framework/core/error.h"
#include "framework/model/matrix_share.h"
#include "framework/sparsity/expand.h"
#include "framework/sparsity/value_moves.h"
#include "framework/train/initial_patterns.h"
#include "framework/train/weight_shares.h"

namespace fern {

namespace {

int64_t elements_of(const SparseWeight& weight, RowRange rows) {
  return (rows.last - rows.first) * weight.columns;
}

}  // namespace

Topology::Topology(std::unique_ptr<Method> method, Parameters& parameters, Arena& arena,
                   std::optional<Part> part)
    : method_(std::move(method)),
      parameters_(parameters),
      whole_(part ? part->whole : parameters),
      link_(part ? part->link : solo_link_) {
  const MethodSetup& setup = method_->setup();
  for (const ParameterRun run : parameters.runs()) {
    const std::string& name = parameters.list()[static_cast<size_t>(run.first)].name;
    if (!is_sparse(setup.config, name)) continue;
    const size_t weight = weight_of(*method_, name);
    int64_t first_row = 0;
    for (int i = run.first; i < run.first + run.count; ++i) {
      const Parameter& parameter = parameters.list()[static_cast<size_t>(i)];
      places_.push_back(
          {weight + static_cast<size_t>(i - run.first),
           i,
           run,
           first_row,
           {parameter.name, parameter.shape[0], parameter.shape[1], setup.config.block_shape()}});
      first_row += parameter.shape[0];
    }
  }
  std::ranges::sort(places_, {}, &Place::weight);
  grown_.resize(places_.size());
  for (size_t i = 0; i < places_.size(); ++i) {
    const Pattern pattern = pattern_of(i);
    first_nonzeros_.push_back(pattern.nonzeros());
    if (!traits_of(setup.config.method).grows) continue;
    ever_.emplace_back(pattern.rows(), pattern.columns(), pattern.block()).add(pattern);
  }
  if (!method_->scored() || places_.empty()) return;
  if (setup.config.global) scores_ = method_->growth_scores(weights_here());
  for (size_t i = 0; i < places_.size() && !setup.config.global; ++i)
    scores_.push_back(method_->growth_scores(places_[i].weight, places_[i].here));
  experts_begin_ = most_scored(false);
  room_ = arena.allocate(DType::kF32, {experts_begin_ + most_scored(true)});
}

int64_t Topology::most_scored(bool own_experts) const {
  int64_t most = 0;
  for (int64_t turn = 0; turn < method_->setup().config.scoring_steps; ++turn) {
    int64_t elements = 0;
    for (size_t i = 0; i < places_.size(); ++i)
      if (is_own_expert(places_[i].parameter) == own_experts)
        elements += elements_of(places_[i].here, rows_here(i, method_->scored_part(turn, places_[i].weight)));
    most = std::max(most, elements);
  }
  return (most + kParameterChunk - 1) / kParameterChunk * kParameterChunk;
}

std::vector<size_t> Topology::weights_here() const {
  std::vector<size_t> weights;
  for (const Place& place : places_) weights.push_back(place.weight);
  return weights;
}

RowRange Topology::rows_here(size_t place, RowRange rows) const {
  const Placement& share = parameter_at(place).place;
  const int64_t begin = share.dimension == 0 ? share.begin : 0, end = places_[place].here.rows;
  return {std::clamp(rows.first - begin, int64_t{0}, end), std::clamp(rows.last - begin, int64_t{0}, end)};
}

// A row is scored at the same step whoever holds it.
std::vector<Topology::Window> Topology::windows_of(int64_t step) const {
  std::vector<Window> windows;
  int64_t others_end = 0, experts_end = experts_begin_;
  for (size_t i = 0; i < places_.size(); ++i) {
    const RowRange rows = rows_here(i, method_->scored_rows(step, places_[i].weight));
    const SparseWeight& here = places_[i].here;
    const int64_t elements = elements_of(here, rows);
    if (elements == 0) continue;
    int64_t& offset = is_own_expert(places_[i].parameter) ? experts_end : others_end;
    windows.push_back(
        {i, rows, room_.rows(offset, offset + elements).reshape({rows.last - rows.first, here.columns})});
    offset += elements;
  }
  return windows;
}

int64_t Topology::scored_elements(int64_t step) const {
  int64_t elements = 0;
  for (size_t i = 0; i < method_->setup().weights.size(); ++i)
    elements += elements_of(method_->setup().weights[i], method_->scored_rows(step, i));
  return elements;
}

bool Topology::begin_step(int64_t step) {
  std::vector<ScoredRows> rows;
  for (const Window& window : windows_of(step)) {
    const Place& place = places_[window.place];
    rows.push_back({place.run, place.first_row + window.rows.first, window.gradient});
  }
  const bool scores = !rows.empty();
  parameters_.set_scored_rows(std::move(rows));
  return scores;
}

void Topology::take_scores(int64_t step) {
  for (const Window& window : windows_of(step))
    scores_[window.place].offer_rows(pattern_of(window.place), window.gradient.as<float>(), window.rows.first,
                                     window.rows.last);
  parameters_.set_scored_rows({});
}

Pattern Topology::pattern_of(size_t place) const {
  if (parameter_at(place).sparse) return parameters_.pattern_of(places_[place].parameter);
  const SparseWeight& here = places_[place].here;
  return Pattern::full(here.rows, here.columns, here.block);
}

// In the order of pattern_of(), also of a matrix that is still dense and so lies row by row; `room` is for
// those that lie in another.
std::span<const float> Topology::values_here(size_t place, std::vector<float>& room) const {
  const Tensor values = parameters_.value(places_[place].parameter);
  if (parameter_at(place).sparse || weight_at(place).block == BlockShape{}) return values.values<float>();
  room.resize(static_cast<size_t>(values.elements()));
  gather(room, values.values<float>(), pattern_of(place));
  return room;
}

std::optional<TopologyUpdate> Topology::update_after(int64_t step, AdamW& optimizer, GradReducer& gradients,
                                                     int64_t updates) {
  if (!method_->updates_after(step)) return std::nullopt;
  NextPatterns next = next_patterns(step);
  TopologyUpdate update;
  update.counts =
      sum_over_processes(change_to(std::move(next.patterns), optimizer, gradients, updates, next.grow));
  update.nonzeros = whole_.elements();
  update.hash = hash_of_all();
  for (GrowthScores& scores : scores_) scores.clear();
  return update;
}

Topology::NextPatterns Topology::next_patterns(int64_t step) {
  const size_t places = places_.size();
  const bool compete = method_->setup().config.global;
  std::vector<Pattern> patterns;
  std::vector<std::vector<Candidate>> candidates(places);
  std::vector<std::vector<float>> rooms(places);
  for (size_t i = 0; i < places; ++i) {
    WeightRecord own = {.pattern = pattern_of(i)};
    if (!scores_.empty()) own.scores = scores_[i].state();
    WeightRecord whole = whole_record(i, std::move(own));
    patterns.push_back(std::move(whole.pattern));
    candidates[i] = candidates_of(whole.scores);
  }
  std::vector<WeightView> views;
  for (size_t i = 0; i < places; ++i)
    views.push_back({patterns[i], compete ? values_of(i, patterns[i], rooms[i]) : std::span<const float>(),
                     candidates[i]});
  const std::vector<Change> changes = method_->counts(step, with_those_elsewhere(views));
  NextPatterns next = {.patterns = std::vector<Pattern>(changes.size())};
  double grows = 0;
  for (size_t i = 0; i < places; ++i) {
    const size_t weight = places_[i].weight;
    std::vector<float> room;
    if (!compete) views[i].values = values_of(i, patterns[i], room);
    next.patterns[weight] = method_->next(step, weight, views[i], changes[weight]);
    if (tells_of(i)) grows += static_cast<double>(changes[weight].grow);
  }
  link_.sum({&grows, 1});
  next.grow = grows > 0;
  return next;
}

// Counted where this process speaks for what is here.
TopologyCounts Topology::change_to(std::vector<Pattern> next, AdamW& optimizer, GradReducer& gradients,
                                   int64_t updates, bool ages) {
  TopologyCounts counts;
  for (size_t i = 0; i < places_.size(); ++i) {
    const Pattern before = pattern_of(i), after = share_of(next[places_[i].weight], parameter_at(i));
    grown_[i] = 0;
    for_each_move(after, before, [&](ValueMove move) { grown_[i] += move.is_new() ? move.count : 0; });
    if (!ever_.empty()) ever_[i].add(after);
    if (!speaks_for(places_[i].parameter)) continue;
    counts.grown += grown_[i];
    counts.dropped += before.nonzeros() + grown_[i] - after.nonzeros();
  }
  std::vector<SparseRun> sparse = runs_of(parameters_, *method_, std::move(next));
  leave_full_dense(sparse, parameters_);
  change_topology(parameters_, optimizer, gradients, runs_here(parameters_, std::move(sparse)), updates,
                  ages);
  return counts;
}

// A checkpoint that does not say which weights were once active leaves those of its own patterns alone.
void Topology::restore(const TopologyMemory& memory) {
  for (size_t i = 0; i < scores_.size(); ++i)
    for (const auto& [name, state] : memory.scores)
      if (name == weight_at(i).name)
        scores_[i].restore(scores_of_share(state, parameter_at(i), weight_at(i).block));
  for (size_t i = 0; i < ever_.size(); ++i) {
    const SparseWeight& here = places_[i].here;
    ever_[i] = EverActive(here.rows, here.columns, here.block);
    for (const auto& [name, bits] : memory.ever_active)
      if (name == here.name) ever_[i].restore(ever_active_of_share(bits, parameter_at(i), here.block));
    ever_[i].add(pattern_of(i));
  }
}

bool Topology::watches(int64_t step) const {
  const MethodSetup& setup = method_->setup();
  return step == 1 || step == setup.train_steps || step % setup.config.interval == 0 ||
         method_->updates_after(step);
}

std::vector<double> Topology::gradient_norms(const Slices& counted, ScalarReducer& scalars) const {
  std::vector<int> indices;
  for (const SparseWeight& weight : method_->setup().weights) indices.push_back(whole_.find(weight.name));
  return fern::gradient_norms(parameters_, whole_, indices, counted, {link_.share(), link_.shares()},
                              scalars);
}

size_t Topology::bytes() const {
  size_t bytes = 0;
  for (const GrowthScores& scores : scores_) bytes += scores.bytes();
  for (const EverActive& ever : ever_) bytes += ever.bytes();
  return bytes;
}

}  // namespace fern
