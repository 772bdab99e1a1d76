#include "parallel/rank_tensors.h"

#include <algorithm>
#include <array>

#include "framework/core/error.h"
#include "framework/model/matrix_share.h"
#include "framework/model/whole_matrix.h"

namespace fern {

namespace {

// The order of TensorSource.
struct Turn {
  TensorKind kind = TensorKind::kValues;
  int index = 0;
};

Turn turn(int64_t number, int64_t parameters) {
  if (number < parameters) return {TensorKind::kValues, static_cast<int>(number)};
  const int64_t moment = number - parameters;
  return {moment % 2 == 0 ? TensorKind::kFirstMoment : TensorKind::kSecondMoment,
          static_cast<int>(moment / 2)};
}

std::span<const float> part(const Tensor& flat, int64_t begin, int64_t elements) {
  return flat.values<float>().subspan(static_cast<size_t>(begin), static_cast<size_t>(elements));
}

// Begins and ends of a rank's slices: of what all replicas hold, and of its own experts.
constexpr size_t kToldOfSlices = 4;

std::array<double, kToldOfSlices> told_of(const Slices& slices) {
  expect(slices.list().size() <= kToldOfSlices / 2, "[rank tensors] expected at most {} slices, got {}",
         kToldOfSlices / 2, slices.list().size());
  std::array<double, kToldOfSlices> told{};
  auto next = told.begin();
  for (const Slice& slice : slices.list()) {
    *next++ = static_cast<double>(slice.begin);
    *next++ = static_cast<double>(slice.end);
  }
  return told;
}

}  // namespace

RankTensors::RankTensors(const Parameters& whole, const Parameters& own, const AdamW& optimizer,
                         MeshCommunicators& communicators)
    : whole_(whole), own_(own), optimizer_(optimizer), communicators_(communicators) {}

// Everyone learns who holds what: each number is told by one rank.
void RankTensors::begin(const Parameters& whole) {
  patterns_ = &whole;
  Communicator& world = communicators_.world();
  const MeshPlace& place = communicators_.place();
  const size_t parameters = whole_.list().size(), ranks = static_cast<size_t>(world.size());
  const auto tensor = static_cast<size_t>(communicators_.mesh().tensor), entry = 3 + 2 * tensor;
  std::vector<double> told(parameters * entry + ranks * kToldOfSlices);
  for (size_t i = 0; i < parameters && place.context == 0; ++i) {
    const int index = own_.find(whole_.list()[i].name);
    if (index < 0) continue;
    const Parameter& own = own_.list()[static_cast<size_t>(index)];
    const bool is_own_expert = static_cast<size_t>(index) >= own_.own_experts();
    if (place.data >= (is_own_expert ? communicators_.mesh().expert : 1)) continue;
    if (place.tensor == 0) {
      told[i * entry] = static_cast<double>(place.stage);
      told[i * entry + 1] = own.place.whole == 0 ? -1 : own.place.dimension;
      told[i * entry + 2] = static_cast<double>(is_own_expert ? place.data : kAllReplicas);
    }
    double* share = told.data() + i * entry + 3 + 2 * static_cast<size_t>(place.tensor);
    share[0] = static_cast<double>(own.offset);
    share[1] = static_cast<double>(own.elements());
  }
  const auto slices = told.begin() + static_cast<std::ptrdiff_t>(parameters * entry);
  std::ranges::copy(told_of(optimizer_.slices()),
                    slices + static_cast<std::ptrdiff_t>(kToldOfSlices) * world.rank());
  world.all_reduce_sum(told);
  const auto number = [&](size_t i) { return static_cast<int64_t>(told[i]); };
  places_.clear();
  for (size_t i = 0; i < parameters * entry; i += entry) {
    places_.push_back(
        {.stage = number(i), .experts = number(i + 2), .dimension = static_cast<int>(number(i + 1))});
    for (size_t share = i + 3; share < i + entry; share += 2) {
      places_.back().offsets.push_back(number(share));
      places_.back().elements.push_back(number(share + 1));
    }
  }
  slices_.assign(ranks, {});
  for (size_t rank = 0; rank < ranks; ++rank)
    for (size_t i = 0; i < kToldOfSlices; i += 2) {
      const size_t at = parameters * entry + rank * kToldOfSlices + i;
      slices_[rank].add({number(at), number(at + 1)});
    }
  next_ = 0;
}

void RankTensors::finish() {
  const auto parameters = static_cast<int64_t>(whole_.list().size());
  while (next_ < tensors()) {
    const Turn now = turn(next_, parameters);
    bring(now.kind, now.index);
  }
}

std::span<const float> RankTensors::get(TensorKind kind, int index) {
  const Turn now = turn(next_, static_cast<int64_t>(whole_.list().size()));
  expect(now.kind == kind && now.index == index,
         "[rank tensors] expected tensors to be asked for in order, parameter {}, got {}", now.index, index);
  return bring(kind, index);
}

std::vector<Parameter> RankTensors::shares_of(const Parameter& parameter, const Place& place) const {
  std::vector<Parameter> shares = {parameter};
  if (place.dimension >= 0)
    shares = fern::shares_of(parameter, place.dimension, communicators_.mesh().tensor);
  for (size_t rank = 0; rank < shares.size(); ++rank) {
    shares[rank].offset = place.offsets[rank];
    shares[rank].nonzeros = place.elements[rank];
  }
  return shares;
}

std::vector<RankTensors::Piece> RankTensors::pieces_of(TensorKind kind, const Place& place,
                                                       std::span<const Parameter> shares) const {
  const Mesh& mesh = communicators_.mesh();
  std::vector<Piece> pieces;
  int64_t to = 0;
  for (size_t tensor = 0; tensor < shares.size(); ++tensor) {
    Slice rest = {shares[tensor].offset, shares[tensor].offset + shares[tensor].elements()};
    // In the order of their slices.
    for (int64_t replica = 0; replica < mesh.replicas() && rest.elements() > 0; ++replica) {
      MeshPlace holder = place_of_replica(mesh, replica);
      if (place.experts != kAllReplicas && place.experts != expert_index(mesh, holder.data)) continue;
      holder.stage = place.stage;
      holder.tensor = static_cast<int64_t>(tensor);
      const int rank = rank_at(mesh, holder);
      Slice piece;
      if (kind == TensorKind::kValues && mesh.zero < 3)
        piece = rest;
      else
        slices_[static_cast<size_t>(rank)].for_each_in(rest, [&](Slice kept, int64_t) { piece = kept; });
      if (piece.elements() == 0) continue;
      pieces.push_back({rank, piece, to});
      to += piece.elements();
      rest.begin = piece.end;
    }
  }
  return pieces;
}

std::span<const float> RankTensors::held(TensorKind kind, Slice elements) const {
  if (kind == TensorKind::kValues) return part(own_.values(), elements.begin, elements.elements());
  const Tensor moment =
      kind == TensorKind::kFirstMoment ? optimizer_.first_moment() : optimizer_.second_moment();
  std::span<const float> values;
  optimizer_.slices().for_each_in(
      elements, [&](Slice kept, int64_t first) { values = part(moment, first, kept.elements()); });
  return values;
}

std::span<const float> RankTensors::bring(TensorKind kind, int index) {
  ++next_;
  const Parameter& parameter = whole_.list()[static_cast<size_t>(index)];
  const Place& place = places_[static_cast<size_t>(index)];
  Communicator& world = communicators_.world();
  const std::vector<Parameter> shares = shares_of(parameter, place);
  const std::vector<Piece> pieces = pieces_of(kind, place, shares);
  const bool is_here = is_writer() && pieces.size() == 1 && pieces.front().rank == 0;
  if (is_writer() && !is_here) tensor_.resize(static_cast<size_t>(parameter.elements()));
  std::vector<Incoming> incoming;
  std::vector<Outgoing> outgoing;
  for (const auto& [rank, elements, to] : pieces) {
    if (rank == world.rank() && !is_writer()) outgoing.push_back({0, held(kind, elements)});
    if (!is_writer() || is_here) continue;
    const auto there =
        std::span(tensor_).subspan(static_cast<size_t>(to), static_cast<size_t>(elements.elements()));
    if (rank == 0)
      std::ranges::copy(held(kind, elements), there.begin());
    else
      incoming.push_back({rank, there});
  }
  world.start_exchange({.bytes = parameter.elements() * static_cast<int64_t>(sizeof(float)),
                        .index = static_cast<int32_t>(index),
                        .cargo = Cargo::kTensor},
                       incoming, outgoing);
  while (!world.exchange_done(0)) world.progress();
  if (is_here) return held(kind, pieces.front().elements);
  return is_writer() && place.dimension == 1 && shares.size() > 1 ? joined(index, shares)
                                                                  : std::span<const float>(tensor_);
}

std::span<const float> RankTensors::joined(int index, std::span<const Parameter> shares) {
  joined_.resize(tensor_.size());
  const bool is_sparse = patterns_->list()[static_cast<size_t>(index)].sparse;
  const Pattern pattern = is_sparse ? patterns_->pattern_of(index) : Pattern();
  size_t begin = 0;
  for (const Parameter& share : shares) {
    const auto values = std::span<const float>(tensor_).subspan(begin, static_cast<size_t>(share.elements()));
    if (is_sparse)
      put_share<float>(joined_, values, share, pattern);
    else
      put_share(joined_, values, share);
    begin += values.size();
  }
  return joined_;
}

}  // namespace fern
