// What processes that hold different weights tell each other of them.
#include <algorithm>
#include <array>
#include <bit>

#include "framework/checkpoint/topology_file.h"
#include "framework/model/matrix_share.h"
#include "framework/train/topology.h"
#include "framework/train/weight_shares.h"

namespace fern {

std::optional<size_t> Topology::place_of(size_t weight) const {
  const auto found = std::ranges::lower_bound(places_, weight, {}, &Place::weight);
  if (found == places_.end() || found->weight != weight) return std::nullopt;
  return static_cast<size_t>(found - places_.begin());
}

const Parameter& Topology::in_whole(size_t weight) const {
  return whole_.list()[static_cast<size_t>(whole_.find(method_->setup().weights[weight].name))];
}

std::vector<WeightView> Topology::with_those_elsewhere(std::span<const WeightView> here) const {
  static const Pattern kElsewhere;
  const std::vector<SparseWeight>& weights = method_->setup().weights;
  std::vector<WeightView> views;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (const auto place = place_of(i))
      views.push_back(here[*place]);
    else
      views.push_back(
          {.pattern = kElsewhere, .blocks_elsewhere = in_whole(i).elements() / weights[i].block.elements()});
  }
  return views;
}

std::vector<Parameter> Topology::shares_of(size_t place) const {
  const Placement& share = parameter_at(place).place;
  if (share.whole == 0) return {parameter_at(place)};
  return fern::shares_of(in_whole(places_[place].weight), share.dimension, link_.shares());
}

WeightRecord Topology::whole_record(size_t place, WeightRecord own) const {
  const std::vector<Parameter> shares = shares_of(place);
  if (shares.size() == 1) return own;
  std::vector<WeightRecord> records;
  for (const std::vector<uint32_t>& words : link_.gather(words_of(own))) {
    const Shape& shape = shares[records.size()].shape;
    records.push_back(record_of({weight_at(place).name, shape[0], shape[1], weight_at(place).block}, words));
  }
  return joined(*method_, places_[place].weight, shares, records);
}

Pattern Topology::whole_pattern(size_t place) const {
  return whole_record(place, {.pattern = pattern_of(place)}).pattern;
}

std::span<const float> Topology::values_of(size_t place, const Pattern& pattern,
                                           std::vector<float>& room) const {
  const std::vector<Parameter> shares = shares_of(place);
  if (shares.size() == 1) return values_here(place, room);
  std::vector<float> own_room, told;
  std::vector<uint32_t> words;
  for (const float value : values_here(place, own_room)) words.push_back(std::bit_cast<uint32_t>(value));
  room.resize(static_cast<size_t>(pattern.nonzeros()));
  auto share = shares.begin();
  for (const std::vector<uint32_t>& of_share : link_.gather(std::move(words))) {
    told.clear();
    for (const uint32_t word : of_share) told.push_back(std::bit_cast<float>(word));
    put_share<float>(room, told, *share++, pattern);
  }
  return room;
}

// And takes up how large all patterns now are.
TopologyCounts Topology::sum_over_processes(const TopologyCounts& here) {
  if (!is_part()) return here;
  std::vector<double> told = {static_cast<double>(here.dropped), static_cast<double>(here.grown)};
  for (const Parameter& parameter : whole_.list()) {
    const int own = parameters_.find(parameter.name);
    const int64_t elements =
        own < 0 || !speaks_for(own) ? 0 : parameters_.list()[static_cast<size_t>(own)].elements();
    told.push_back(static_cast<double>(elements));
  }
  link_.sum(told);
  whole_.set_sizes(std::vector<int64_t>(told.begin() + 2, told.end()));
  return {static_cast<int64_t>(told[0]), static_cast<int64_t>(told[1])};
}

WeightRecord Topology::bring(size_t weight, std::optional<WeightRecord> own) const {
  if (!is_part()) return std::move(*own);
  const auto place = place_of(weight);
  const bool tells = place && tells_of(*place);
  const std::vector<uint32_t> words = link_.bring(tells ? words_of(*own) : std::vector<uint32_t>());
  return link_.is_writer() ? record_of(method_->setup().weights[weight], words) : WeightRecord();
}

// One pattern after the other: nobody holds all of them.
std::string Topology::hash_of_all() const {
  if (!is_part()) return topology_hash(parameters_);
  TopologyHash hash;
  for (size_t i = 0; i < method_->setup().weights.size(); ++i) {
    if (!in_whole(i).sparse) continue;
    std::optional<WeightRecord> own;
    if (const auto place = place_of(i)) own = WeightRecord{.pattern = whole_pattern(*place)};
    const WeightRecord record = bring(i, std::move(own));
    if (link_.is_writer()) hash.add(in_whole(i), record.pattern);
  }
  return link_.is_writer() && whole_.is_sparse() ? hash.hex() : "";
}

SparsityMetrics Topology::metrics(std::span<const double> norms, bool updated) const {
  constexpr size_t kNumbers = 5;
  const std::vector<SparseWeight>& weights = method_->setup().weights;
  std::vector<double> told(weights.size() * kNumbers);
  for (size_t i = 0; i < places_.size(); ++i) {
    if (!speaks_for(places_[i].parameter)) continue;
    const Pattern pattern = pattern_of(i);
    // A row or a column is active in any of its shares; one process tells of it.
    const ActiveNeurons of_whole = active_neurons(whole_pattern(i)),
                        active = tells_of(i) ? of_whole : ActiveNeurons();
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

WeightRecord Topology::record_at(size_t place, const WeightAges& ages) const {
  const Parameter& parameter = parameter_at(place);
  WeightRecord record;
  if (parameter.sparse) record.pattern = pattern_of(place);
  if (parameter.sparse && !ages.generation.empty()) {
    const auto begin = ages.generation.begin() + parameter.offset;
    record.generation.assign(begin, begin + parameter.elements());
  }
  if (!scores_.empty()) record.scores = scores_[place].state();
  if (!ever_.empty()) record.ever_active = ever_[place].bits();
  return record;
}

Topology::Memory Topology::memory(const WeightAges& ages) const {
  const std::vector<SparseWeight>& weights = method_->setup().weights;
  Memory all;
  std::vector<uint16_t>& generation = all.memory.ages.generation;
  all.memory.ages.births = ages.births;
  if (!ages.generation.empty()) generation.resize(static_cast<size_t>(whole_.padded_elements()));
  std::vector<Pattern> patterns(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    std::optional<WeightRecord> own;
    if (const auto place = place_of(i)) own = whole_record(*place, record_at(*place, ages));
    WeightRecord record = bring(i, std::move(own));
    if (!record.generation.empty())
      std::ranges::copy(record.generation, generation.begin() + in_whole(i).offset);
    if (!record.scores.empty()) all.memory.scores.push_back({weights[i].name, std::move(record.scores)});
    if (!record.ever_active.empty())
      all.memory.ever_active.push_back({weights[i].name, std::move(record.ever_active)});
    if (is_part()) patterns[i] = std::move(record.pattern);
  }
  if (is_part() && link_.is_writer()) all.whole.emplace(whole_).set_patterns(sparse_of_whole(patterns));
  return all;
}

// Of weights by their number.
std::vector<SparseRun> Topology::sparse_of_whole(std::span<const Pattern> patterns) const {
  std::vector<SparseRun> sparse;
  for (const ParameterRun run : whole_.runs()) {
    const Parameter& first = whole_.list()[static_cast<size_t>(run.first)];
    if (!first.sparse) continue;
    const size_t weight = weight_of(*method_, first.name);
    sparse.push_back({run, Pattern::stacked(patterns.subspan(weight, static_cast<size_t>(run.count)))});
  }
  return sparse;
}

}  // namespace fern
