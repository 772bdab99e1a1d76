#include "parallel/rank_tensors.h"

#include <algorithm>

#include "framework/core/error.h"
#include "parallel/reduction_plan.h"

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

}  // namespace

RankTensors::RankTensors(const Parameters& whole, const Parameters& own, const AdamW& optimizer,
                         MeshCommunicators& communicators)
    : whole_(whole), own_(own), optimizer_(optimizer), communicators_(communicators) {}

// Everyone learns who holds what: each number is told by one rank.
void RankTensors::begin() {
  Communicator& world = communicators_.world();
  const MeshPlace& place = communicators_.place();
  const size_t parameters = whole_.list().size(), ranks = static_cast<size_t>(world.size());
  std::vector<double> told(2 * (parameters + ranks));
  for (size_t i = 0; i < parameters && place.data == 0 && place.tensor == 0; ++i) {
    const int own = own_.find(whole_.list()[i].name);
    if (own < 0) continue;
    told[2 * i] = static_cast<double>(place.stage);
    told[2 * i + 1] = static_cast<double>(own_.list()[static_cast<size_t>(own)].offset);
  }
  double* slice = told.data() + 2 * (parameters + static_cast<size_t>(world.rank()));
  slice[0] = static_cast<double>(optimizer_.slice().begin);
  slice[1] = static_cast<double>(optimizer_.slice().end);
  world.all_reduce_sum(told);
  const auto number = [&](size_t i) { return static_cast<int64_t>(told[i]); };
  places_.clear();
  slices_.clear();
  for (size_t i = 0; i < parameters; ++i) places_.push_back({number(2 * i), number(2 * i + 1)});
  for (size_t i = parameters; i < parameters + ranks; ++i)
    slices_.push_back({number(2 * i), number(2 * i + 1)});
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

std::vector<RankTensors::Piece> RankTensors::pieces_of(TensorKind kind, const Parameter& parameter,
                                                       const Place& place) const {
  const Mesh& mesh = communicators_.mesh();
  Slice rest = {place.offset, place.offset + parameter.elements()};
  std::vector<Piece> pieces;
  for (int64_t data = 0; data < mesh.data && rest.elements() > 0; ++data) {
    const int rank = rank_at(mesh, {.stage = place.stage, .data = data, .tensor = 0});
    const Slice piece =
        kind == TensorKind::kValues ? rest : intersection(rest, slices_[static_cast<size_t>(rank)]);
    if (piece.elements() == 0) continue;
    pieces.push_back({rank, piece});
    rest.begin = piece.end;
  }
  return pieces;
}

std::span<const float> RankTensors::held(TensorKind kind, Slice elements) const {
  const int64_t begin = kind == TensorKind::kValues ? 0 : optimizer_.slice().begin;
  const Tensor flat = kind == TensorKind::kValues        ? own_.values()
                      : kind == TensorKind::kFirstMoment ? optimizer_.first_moment()
                                                         : optimizer_.second_moment();
  return flat.values<float>().subspan(static_cast<size_t>(elements.begin - begin),
                                      static_cast<size_t>(elements.elements()));
}

std::span<const float> RankTensors::bring(TensorKind kind, int index) {
  ++next_;
  const Parameter& parameter = whole_.list()[static_cast<size_t>(index)];
  const Place& place = places_[static_cast<size_t>(index)];
  Communicator& world = communicators_.world();
  const std::vector<Piece> pieces = pieces_of(kind, parameter, place);
  const bool is_here = is_writer() && pieces.size() == 1 && pieces.front().rank == 0;
  if (is_writer() && !is_here) tensor_.resize(static_cast<size_t>(parameter.elements()));
  std::vector<Incoming> incoming;
  std::vector<Outgoing> outgoing;
  for (const auto& [rank, elements] : pieces) {
    if (rank == world.rank() && !is_writer()) outgoing.push_back({0, held(kind, elements)});
    if (!is_writer() || is_here) continue;
    const auto there = std::span(tensor_).subspan(static_cast<size_t>(elements.begin - place.offset),
                                                  static_cast<size_t>(elements.elements()));
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
  return is_here ? held(kind, pieces.front().elements) : std::span<const float>(tensor_);
}

}  // namespace fern
