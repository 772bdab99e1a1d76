#include "framework/train/topology.h"

#include <algorithm>

#include "framework/checkpoint/topology_file.h"
#include "framework/core/error.h"
#include "framework/sparsity/expand.h"
#include "framework/train/initial_patterns.h"

namespace fern {

namespace {

int64_t elements_of(const SparseWeight& weight, RowRange rows) {
  return (rows.last - rows.first) * weight.columns;
}

}  // namespace

Topology::Topology(std::unique_ptr<Method> method, Parameters& parameters, Arena& arena)
    : method_(std::move(method)), parameters_(parameters) {
  const MethodSetup& setup = method_->setup();
  for (const ParameterRun run : parameters.runs()) {
    if (!is_sparse(setup.config, parameters.list()[static_cast<size_t>(run.first)].name)) continue;
    int64_t first_row = 0;
    for (int i = run.first; i < run.first + run.count; ++i) {
      places_.push_back({i, run, first_row});
      first_row += parameters.list()[static_cast<size_t>(i)].shape[0];
    }
  }
  grown_.resize(places_.size());
  for (size_t i = 0; i < places_.size(); ++i) {
    const Pattern pattern = pattern_of(i);
    first_nonzeros_.push_back(pattern.nonzeros());
    if (!method_->scored() && setup.config.method != SparsityMethod::kSet) continue;
    ever_.emplace_back(pattern.rows(), pattern.columns(), pattern.block()).add(pattern);
  }
  if (!method_->scored()) return;
  scores_ = method_->growth_scores();
  int64_t most = 0;
  for (int64_t part = 0; part < setup.config.scoring_steps; ++part) {
    int64_t elements = 0;
    for (size_t i = 0; i < places_.size(); ++i)
      elements += elements_of(setup.weights[i], method_->scored_part(part, i));
    most = std::max(most, elements);
  }
  window_ = arena.allocate(DType::kF32, {(most + kParameterChunk - 1) / kParameterChunk * kParameterChunk});
}

std::vector<Topology::Part> Topology::parts_of(int64_t step) const {
  std::vector<Part> parts;
  int64_t offset = 0;
  for (size_t i = 0; i < places_.size(); ++i) {
    const SparseWeight& weight = method_->setup().weights[i];
    const RowRange rows = method_->scored_rows(step, i);
    const int64_t elements = elements_of(weight, rows);
    if (elements == 0) continue;
    parts.push_back(
        {i, rows, window_.rows(offset, offset + elements).reshape({rows.last - rows.first, weight.columns})});
    offset += elements;
  }
  return parts;
}

bool Topology::begin_step(int64_t step) {
  std::vector<ScoredRows> rows;
  for (const Part& part : parts_of(step)) {
    const Place& place = places_[part.weight];
    rows.push_back({place.run, place.first_row + part.rows.first, part.gradient});
  }
  const bool scores = !rows.empty();
  parameters_.set_scored_rows(std::move(rows));
  return scores;
}

void Topology::take_scores(int64_t step) {
  for (const Part& part : parts_of(step))
    scores_[part.weight].offer_rows(pattern_of(part.weight), part.gradient.as<float>(), part.rows.first,
                                    part.rows.last);
  parameters_.set_scored_rows({});
}

Pattern Topology::pattern_of(size_t weight) const {
  const Place& place = places_[weight];
  if (parameters_.list()[static_cast<size_t>(place.parameter)].sparse)
    return parameters_.pattern_of(place.parameter);
  const SparseWeight& shape = method_->setup().weights[weight];
  return Pattern::full(shape.rows, shape.columns, shape.block);
}

// In the pattern's order, also of a matrix that is still dense and so lies row by row; `room` is for those
// that lie in another.
std::span<const float> Topology::values_of(size_t weight, const Pattern& pattern,
                                           std::vector<float>& room) const {
  const Tensor values = parameters_.value(places_[weight].parameter);
  const bool is_sparse = parameters_.list()[static_cast<size_t>(places_[weight].parameter)].sparse;
  if (is_sparse || pattern.block() == BlockShape{}) return values.values<float>();
  room.resize(static_cast<size_t>(values.elements()));
  gather(room, values.values<float>(), pattern);
  return room;
}

std::optional<TopologyUpdate> Topology::update_after(int64_t step, AdamW& optimizer, GradReducer& gradients,
                                                     int64_t updates) {
  if (!method_->updates_after(step)) return std::nullopt;
  const size_t weights = places_.size();
  std::vector<Pattern> patterns;
  std::vector<std::vector<float>> rooms(weights);
  std::vector<std::vector<Candidate>> candidates(weights);
  for (size_t i = 0; i < weights; ++i) {
    patterns.push_back(pattern_of(i));
    if (!scores_.empty()) candidates[i] = scores_[i].candidates();
  }
  std::vector<WeightView> views;
  for (size_t i = 0; i < weights; ++i)
    views.push_back({patterns[i], values_of(i, patterns[i], rooms[i]), candidates[i]});
  const std::vector<Change> changes = method_->counts(step, views);
  std::vector<Pattern> next;
  bool grows = false;
  for (size_t i = 0; i < weights; ++i) {
    next.push_back(method_->next(step, i, views[i], changes[i]));
    grows = grows || changes[i].grow > 0;
    grown_[i] = std::ranges::count(value_origins(next[i], patterns[i]), -1);
    if (!ever_.empty()) ever_[i].add(next[i]);
  }
  std::vector<SparseRun> sparse = runs_of(parameters_, *method_, std::move(next));
  leave_full_dense(sparse, parameters_);
  TopologyUpdate update;
  update.counts = change_topology(parameters_, optimizer, gradients, std::move(sparse), updates, grows);
  update.nonzeros = parameters_.elements();
  update.hash = topology_hash(parameters_);
  for (GrowthScores& scores : scores_) scores.clear();
  return update;
}

std::vector<TopologyMemory::Scores> Topology::scores() const {
  std::vector<TopologyMemory::Scores> all;
  for (size_t i = 0; i < scores_.size(); ++i) {
    std::vector<uint64_t> state = scores_[i].state();
    if (!state.empty()) all.push_back({method_->setup().weights[i].name, std::move(state)});
  }
  return all;
}

std::vector<TopologyMemory::EverActive> Topology::ever_active() const {
  std::vector<TopologyMemory::EverActive> all;
  for (size_t i = 0; i < ever_.size(); ++i)
    all.push_back({method_->setup().weights[i].name, ever_[i].bits()});
  return all;
}

// A checkpoint that does not say which weights were once active leaves those of its own patterns alone.
void Topology::restore(const TopologyMemory& memory) {
  for (size_t i = 0; i < scores_.size(); ++i)
    for (const auto& [name, state] : memory.scores)
      if (name == method_->setup().weights[i].name) scores_[i].restore(state);
  for (size_t i = 0; i < ever_.size(); ++i) {
    const SparseWeight& weight = method_->setup().weights[i];
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

std::vector<double> Topology::gradient_norms(Slice counted, ScalarReducer& scalars) const {
  std::vector<int> indices;
  for (const Place& place : places_) indices.push_back(place.parameter);
  return fern::gradient_norms(parameters_, indices, counted, scalars);
}

SparsityMetrics Topology::metrics(std::span<const double> norms, bool updated) const {
  SparsityMetrics metrics;
  for (size_t i = 0; i < places_.size(); ++i) {
    const Pattern pattern = pattern_of(i);
    const ActiveNeurons active = active_neurons(pattern);
    metrics.weights.push_back({.name = method_->setup().weights[i].name,
                               .elements = pattern.rows() * pattern.columns(),
                               .nonzeros = pattern.nonzeros(),
                               .active_rows = active.rows,
                               .active_columns = active.columns,
                               .ever_active = ever_.empty() ? first_nonzeros_[i] : ever_[i].weights(),
                               .grown = updated ? grown_[i] : 0,
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
