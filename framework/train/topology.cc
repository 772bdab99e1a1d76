#include "framework/train/topology.h"

#include <algorithm>
#include <array>

#include "framework/core/error.h"
#include "framework/sparsity/expand.h"
#include "framework/train/initial_patterns.h"

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
      places_.push_back({weight + static_cast<size_t>(i - run.first), i, run, first_row});
      first_row += parameters.list()[static_cast<size_t>(i)].shape[0];
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
  scores_ = method_->growth_scores(weights_here());
  experts_begin_ = most_scored(false);
  room_ = arena.allocate(DType::kF32, {experts_begin_ + most_scored(true)});
}

int64_t Topology::most_scored(bool own_experts) const {
  int64_t most = 0;
  for (int64_t turn = 0; turn < method_->setup().config.scoring_steps; ++turn) {
    int64_t elements = 0;
    for (size_t i = 0; i < places_.size(); ++i)
      if (is_own_expert(places_[i].parameter) == own_experts)
        elements += elements_of(weight_at(i), method_->scored_part(turn, places_[i].weight));
    most = std::max(most, elements);
  }
  return (most + kParameterChunk - 1) / kParameterChunk * kParameterChunk;
}

std::vector<size_t> Topology::weights_here() const {
  std::vector<size_t> weights;
  for (const Place& place : places_) weights.push_back(place.weight);
  return weights;
}

std::vector<Topology::Window> Topology::windows_of(int64_t step) const {
  std::vector<Window> windows;
  int64_t others_end = 0, experts_end = experts_begin_;
  for (size_t i = 0; i < places_.size(); ++i) {
    const RowRange rows = method_->scored_rows(step, places_[i].weight);
    const int64_t elements = elements_of(weight_at(i), rows);
    if (elements == 0) continue;
    int64_t& offset = is_own_expert(places_[i].parameter) ? experts_end : others_end;
    windows.push_back(
        {i, rows,
         room_.rows(offset, offset + elements).reshape({rows.last - rows.first, weight_at(i).columns})});
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
  const int parameter = places_[place].parameter;
  if (parameters_.list()[static_cast<size_t>(parameter)].sparse) return parameters_.pattern_of(parameter);
  const SparseWeight& shape = weight_at(place);
  return Pattern::full(shape.rows, shape.columns, shape.block);
}

// In the pattern's order, also of a matrix that is still dense and so lies row by row; `room` is for those
// that lie in another.
std::span<const float> Topology::values_of(size_t place, const Pattern& pattern,
                                           std::vector<float>& room) const {
  const Tensor values = parameters_.value(places_[place].parameter);
  const bool is_sparse = parameters_.list()[static_cast<size_t>(places_[place].parameter)].sparse;
  if (is_sparse || pattern.block() == BlockShape{}) return values.values<float>();
  room.resize(static_cast<size_t>(values.elements()));
  gather(room, values.values<float>(), pattern);
  return room;
}

std::optional<TopologyUpdate> Topology::update_after(int64_t step, AdamW& optimizer, GradReducer& gradients,
                                                     int64_t updates) {
  if (!method_->updates_after(step)) return std::nullopt;
  const size_t places = places_.size();
  std::vector<Pattern> patterns;
  std::vector<std::vector<float>> rooms(places);
  std::vector<std::vector<Candidate>> candidates(places);
  for (size_t i = 0; i < places; ++i) {
    patterns.push_back(pattern_of(i));
    if (!scores_.empty()) candidates[i] = scores_[i].candidates();
  }
  std::vector<WeightView> views;
  for (size_t i = 0; i < places; ++i)
    views.push_back({patterns[i], values_of(i, patterns[i], rooms[i]), candidates[i]});
  const std::vector<Change> changes = method_->counts(step, with_those_elsewhere(views));
  std::vector<Pattern> next(changes.size());
  TopologyCounts here;
  double grows = 0;
  for (size_t i = 0; i < places; ++i) {
    const size_t weight = places_[i].weight;
    next[weight] = method_->next(step, weight, views[i], changes[weight]);
    grown_[i] = std::ranges::count(value_origins(next[weight], patterns[i]), -1);
    if (!ever_.empty()) ever_[i].add(next[weight]);
    if (!speaks_for(places_[i].parameter)) continue;
    grows += static_cast<double>(changes[weight].grow);
    here.grown += grown_[i];
    here.dropped += patterns[i].nonzeros() + grown_[i] - next[weight].nonzeros();
  }
  link_.sum({&grows, 1});
  std::vector<SparseRun> sparse = runs_of(parameters_, *method_, std::move(next));
  leave_full_dense(sparse, parameters_);
  change_topology(parameters_, optimizer, gradients, std::move(sparse), updates, grows > 0);
  TopologyUpdate update;
  update.counts = sum_over_processes(here);
  update.nonzeros = whole_.elements();
  update.hash = hash_of_all();
  for (GrowthScores& scores : scores_) scores.clear();
  return update;
}

// A checkpoint that does not say which weights were once active leaves those of its own patterns alone.
void Topology::restore(const TopologyMemory& memory) {
  for (size_t i = 0; i < scores_.size(); ++i)
    for (const auto& [name, state] : memory.scores)
      if (name == weight_at(i).name) scores_[i].restore(state);
  for (size_t i = 0; i < ever_.size(); ++i) {
    const SparseWeight& weight = weight_at(i);
    ever_[i] = EverActive(weight.rows, weight.columns, weight.block);
    for (const auto& [name, bits] : memory.ever_active)
      if (name == weight.name) ever_[i].restore(bits);
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
  return fern::gradient_norms(parameters_, whole_, indices, counted, scalars);
}

SparsityMetrics Topology::metrics(std::span<const double> norms, bool updated) const {
  constexpr size_t kNumbers = 5;
  const std::vector<SparseWeight>& weights = method_->setup().weights;
  std::vector<double> told(weights.size() * kNumbers);
  for (size_t i = 0; i < places_.size(); ++i) {
    if (!speaks_for(places_[i].parameter)) continue;
    const Pattern pattern = pattern_of(i);
    const ActiveNeurons active = active_neurons(pattern);
    const int64_t ever_active = ever_.empty() ? first_nonzeros_[i] : ever_[i].weights();
    const std::array<int64_t, kNumbers> own = {pattern.nonzeros(), active.rows, active.columns, ever_active,
                                               updated ? grown_[i] : 0};
    std::ranges::copy(own, told.begin() + static_cast<std::ptrdiff_t>(places_[i].weight * kNumbers));
  }
  link_.sum(told);
  SparsityMetrics metrics;
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto number = [&](size_t n) { return static_cast<int64_t>(told[i * kNumbers + n]); };
    metrics.weights.push_back({.name = weights[i].name,
                               .elements = weights[i].rows * weights[i].columns,
                               .nonzeros = number(0),
                               .active_rows = number(1),
                               .active_columns = number(2),
                               .ever_active = number(3),
                               .grown = number(4),
                               .gradient_norm = norms[i]});
  }
  return metrics;
}

size_t Topology::bytes() const {
  size_t bytes = 0;
  for (const GrowthScores& scores : scores_) bytes += scores.bytes();
  for (const EverActive& ever : ever_) bytes += ever.bytes();
  return bytes;
}

}  // namespace fern
