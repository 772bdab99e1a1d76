#include "parallel/rank_tensor_axis.h"

#include <algorithm>
#include <thread>

#include "framework/core/profile.h"
#include "parallel/words.h"

namespace fern {

namespace {

// Bytes of a piece: those of all ranks stay in a core's cache while they are added up.
constexpr int64_t kPiece_bytes = 128 << 10;

// Piece `number` of some rows, as one row; may be empty.
Tensor piece_of(const Tensor& rows, int64_t number) {
  const int64_t longest = kPiece_bytes / static_cast<int64_t>(size_of(rows.dtype())), all = rows.elements();
  return rows.reshape({all}).rows(std::min(all, number * longest), std::min(all, (number + 1) * longest));
}

int64_t pieces_of(const Tensor& rows) {
  return (static_cast<int64_t>(rows.bytes()) + kPiece_bytes - 1) / kPiece_bytes;
}

template <typename T>
void add(std::span<Wide<T>> sum, std::span<const T> values) {
  const auto count = std::ssize(values);
#pragma omp parallel for simd
  for (int64_t i = 0; i < count; ++i) sum.data()[i] += widen(values.data()[i]);
}

}  // namespace

RankTensorAxis::Room::Room(Arena& arena, int64_t ranks) {
  const int64_t words = kPiece_bytes / static_cast<int64_t>(sizeof(float));
  for (Tensor& of_piece : arrivals) of_piece = arena.allocate(DType::kF32, {ranks - 1, words});
  sum = arena.allocate(DType::kF64, {words});  // wide enough for any dtype
}

RankTensorAxis::RankTensorAxis(Communicator& communicator, Arena& arena)
    : communicator_(communicator), room_(arena, communicator.size()) {}

size_t RankTensorAxis::bytes(int64_t ranks) {
  Arena measure = Arena::measuring("tensor axis");
  const Room room(measure, ranks);
  return measure.used_bytes();
}

void RankTensorAxis::all_gather(const Tensor& whole, Stream& stream) {
  const OpTimer timer(stream, "tensor_all_gather", {.bytes = static_cast<double>(whole.bytes())});
  counts_.clear();
  for (int64_t rank = 0; rank < size(); ++rank) counts_.push_back(std::ssize(words_of(rows_of(rank, whole))));
  sent_bytes_ += (size() - 1) * static_cast<int64_t>(own_rows(whole).bytes());
  communicator_.all_gather(words_of(whole), counts_);
}

void RankTensorAxis::reduce_scatter(Tensor own, const Tensor& whole, Stream& stream) {
  const OpTimer timer(stream, "tensor_reduce_scatter", {.bytes = static_cast<double>(whole.bytes())});
  expect_tensor("tensor_axis", "own", own, whole.dtype(), own_rows(whole).shape());
  int64_t pieces = 0;
  for (int64_t rank = 0; rank < size(); ++rank) pieces = std::max(pieces, pieces_of(rows_of(rank, whole)));
  for (int64_t i = 0; i < std::min<int64_t>(kPieces, pieces); ++i) start(i, whole);
  for (int64_t i = 0; i < pieces; ++i) {
    finish(i, own, whole);
    if (i + kPieces < pieces) start(i + kPieces, whole);
  }
}

Tensor RankTensorAxis::arrival(int64_t number, int64_t rank, const Tensor& piece) const {
  const Tensor& arrivals = room_.arrivals[static_cast<size_t>(number % kPieces)];
  const int64_t row = rank < index() ? rank : rank - 1;
  return Tensor(arrivals.rows(row, row + 1).data(), piece.dtype(), piece.shape());
}

void RankTensorAxis::start(int64_t number, const Tensor& whole) {
  incoming_.clear();
  outgoing_.clear();
  const Tensor own = piece_of(own_rows(whole), number);
  for (int64_t rank = 0; rank < size(); ++rank) {
    if (rank == index()) continue;
    incoming_.push_back({static_cast<int>(rank), words_of(arrival(number, rank, own))});
    outgoing_.push_back({static_cast<int>(rank), words_of(piece_of(rows_of(rank, whole), number))});
    sent_bytes_ += static_cast<int64_t>(outgoing_.back().values.size_bytes());
  }
  communicator_.start_exchange({.lane = static_cast<int>(number % kPieces),
                                .bytes = static_cast<int64_t>(whole.bytes()),
                                .index = static_cast<int32_t>(number),
                                .cargo = Cargo::kSummands},
                               incoming_, outgoing_);
}

void RankTensorAxis::finish(int64_t number, const Tensor& own, const Tensor& whole) {
  // Where ranks are more than the cores, another needs this one.
  for (communicator_.progress(); !communicator_.exchange_done(static_cast<int>(number % kPieces));
       communicator_.progress())
    std::this_thread::yield();
  const Tensor here = piece_of(own_rows(whole), number), out = piece_of(own, number);
  with_float_type("tensor_axis", whole.dtype(), [&]<typename T>() {
    const Tensor room(room_.sum.data(), dtype_of<Wide<T>>, here.shape());
    const std::span<Wide<T>> sum = room.values<Wide<T>>();
    std::ranges::fill(sum, Wide<T>{0});
    for (int64_t rank = 0; rank < size(); ++rank)
      add<T>(sum, (rank == index() ? here : arrival(number, rank, here)).template values<T>());
    std::ranges::transform(sum, out.as<T>(), [](Wide<T> value) { return narrow<T>(value); });
  });
}

int64_t tensor_axis_bytes(const ModelConfig& config, const ModelPart& part, const TensorAxis& axis,
                          int64_t tokens, int64_t targets) {
  if (axis.size() == 1) return 0;
  const auto gathered = [&](int64_t rows, int64_t row_bytes) {
    return axis.own(rows).elements() * (axis.size() - 1) * row_bytes;
  };
  const auto scattered = [&](int64_t rows, int64_t row_bytes) {
    return (rows - axis.own(rows).elements()) * row_bytes;
  };
  const auto summed = [&](int64_t rows, int64_t row_bytes) {
    return gathered(rows, row_bytes) + scattered(rows, row_bytes);
  };
  const int64_t first_layer = part.first_layer, last_layer = std::min(part.last_layer, config.layers);
  const bool is_first = first_layer == 0, is_last = last_layer == config.layers;
  const int64_t layers = last_layer - first_layer, blocks = 2 * layers, heads = is_last ? 1 : 0;
  const int64_t recomputed = config.recompute ? layers - heads : 0;
  int64_t expert_layers = 0;
  for (int64_t i = first_layer; i < last_layer; ++i) expert_layers += config.has_experts(i) ? 1 : 0;
  // A block gathers n, and in backward dy and n again; it scatters y, and in backward dn. The embedding
  // scatters x and, where it is held, gathers dx; the head gathers n and scatters dn. Recomputing a layer
  // gathers n twice and scatters once.
  const int64_t holds_embedding = (config.tie_embeddings ? is_last : is_first) ? 1 : 0;
  const int64_t gathers = 3 * blocks + heads + holds_embedding + 2 * recomputed,
                scatters = 2 * blocks + heads + (is_first ? 1 : 0) + recomputed;
  const int64_t row_bytes = config.hidden * static_cast<int64_t>(size_of(config.dtype));
  const auto wide_bytes = static_cast<int64_t>(size_of(wide_of(config.dtype)));
  const int64_t of_activations =
      gathers * gathered(tokens, row_bytes) + scatters * scattered(tokens, row_bytes);
  const int64_t of_norms = (blocks + heads) * summed(config.hidden, wide_bytes) +
                           (config.qk_norm ? layers * summed(2 * config.head_size(), wide_bytes) : 0);
  const int64_t of_gates = expert_layers * summed(tokens, config.experts.active * wide_bytes);
  return of_activations + of_norms + of_gates + heads * gathered(axis.size(), targets * 3 * 8);
}

}  // namespace fern
