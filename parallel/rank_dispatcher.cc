#include "parallel/rank_dispatcher.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>

#include "framework/core/profile.h"

namespace fern {

namespace {

constexpr int kLane = 0;

// As a communicator carries them: the bits of any type.
std::span<float> words_of(const Tensor& tensor) {
  expect(tensor.bytes() % sizeof(float) == 0,
         "[token_dispatcher] expected whole words of {} bytes, got {} bytes", sizeof(float), tensor.bytes());
  return {static_cast<float*>(tensor.data()), tensor.bytes() / sizeof(float)};
}

std::span<int32_t> counts_of(int64_t rank, const Dispatch& dispatch) {
  return dispatch.rows_NE.rows(rank, rank + 1).values<int32_t>();
}

// Bytes of all rows of all ranks.
int64_t bytes_of_all(const Tensor& rows_RC, const Dispatch& dispatch) {
  const std::span<const int32_t> counts = dispatch.rows_NE.values<int32_t>();
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const int64_t row_bytes =
      static_cast<int64_t>(size_of(rows_RC.dtype())) * (rows_RC.shape().rank() == 1 ? 1 : rows_RC.dim(1));
  return rows * row_bytes;
}

}  // namespace

void RankDispatcher::count(const Dispatch& out, const Tensor& first_E1, Stream& stream) {
  const OpTimer timer(stream, "count_rows", {.bytes = static_cast<double>(out.rows_NE.bytes())});
  const int64_t experts = first_E1.dim(0) - 1;
  const std::span<const int32_t> first = first_E1.values<int32_t>();
  std::transform(first.begin() + 1, first.end(), first.begin(), counts_of(index(), out).begin(),
                 std::minus());
  counts_.assign(static_cast<size_t>(size()), experts);
  communicator_.all_gather(words_of(out.rows_NE), counts_);
  sent_bytes_ += (size() - 1) * experts * static_cast<int64_t>(sizeof(int32_t));
  const std::span<int32_t> first_here = out.first_X1.values<int32_t>();
  const int64_t first_own = own(experts).begin;
  first_here[0] = 0;
  for (size_t x = 0; x + 1 < first_here.size(); ++x) {
    first_here[x + 1] = first_here[x];
    for (int64_t rank = 0; rank < size(); ++rank)
      first_here[x + 1] += counts_of(rank, out)[static_cast<size_t>(first_own) + x];
  }
}

void RankDispatcher::list_own(const Tensor& rows_RC, const Dispatch& dispatch) {
  own_.clear();
  int64_t begin = 0;
  for (int64_t rank = 0; rank < size(); ++rank) {
    const Slice experts = share_of(rank, dispatch.rows_NE.dim(1));
    for (int64_t e = experts.begin; e < experts.end; ++e) {
      const int64_t end = begin + counts_of(index(), dispatch)[static_cast<size_t>(e)];
      own_.push_back({static_cast<int>(rank), rows_RC.rows(begin, end)});
      begin = end;
    }
  }
}

void RankDispatcher::list_here(const Tensor& here_QC, const Dispatch& dispatch) {
  here_.clear();
  int64_t begin = 0;
  const Slice experts = own(dispatch.rows_NE.dim(1));
  for (int64_t e = experts.begin; e < experts.end; ++e)
    for (int64_t rank = 0; rank < size(); ++rank) {
      const int64_t end = begin + counts_of(rank, dispatch)[static_cast<size_t>(e)];
      here_.push_back({static_cast<int>(rank), here_QC.rows(begin, end)});
      begin = end;
    }
}

// What two ranks send each other is in the order of experts on both sides, and so are the rows that stay.
void RankDispatcher::exchange(std::span<const Stretch> from, std::span<const Stretch> to, Cargo cargo,
                              int64_t bytes) {
  incoming_.clear();
  outgoing_.clear();
  for (const auto& [rank, rows] : to)
    if (rank != index()) incoming_.push_back({rank, words_of(rows)});
  for (const auto& [rank, rows] : from) {
    if (rank == index()) continue;
    outgoing_.push_back({rank, words_of(rows)});
    sent_bytes_ += static_cast<int64_t>(rows.bytes());
  }
  communicator_.start_exchange({.lane = kLane, .bytes = bytes, .cargo = cargo}, incoming_, outgoing_);
  auto stays = from.begin();
  for (const auto& [rank, rows] : to) {
    if (rank != index()) continue;
    while (stays->rank != index()) ++stays;
    std::memcpy(rows.data(), (stays++)->rows.data(), rows.bytes());
  }
  // Where ranks are more than the cores, another needs this one.
  for (communicator_.progress(); !communicator_.exchange_done(kLane); communicator_.progress())
    std::this_thread::yield();
}

void RankDispatcher::dispatch(Tensor here_QC, const Tensor& rows_RC, const Dispatch& dispatch,
                              Stream& stream) {
  const OpTimer timer(stream, "dispatch_rows", {.bytes = static_cast<double>(rows_RC.bytes())});
  list_own(rows_RC, dispatch);
  list_here(here_QC, dispatch);
  exchange(own_, here_, Cargo::kRows, bytes_of_all(rows_RC, dispatch));
}

void RankDispatcher::collect(Tensor rows_RC, const Tensor& here_QC, const Dispatch& dispatch,
                             Stream& stream) {
  const OpTimer timer(stream, "collect_rows", {.bytes = static_cast<double>(rows_RC.bytes())});
  list_own(rows_RC, dispatch);
  list_here(here_QC, dispatch);
  exchange(here_, own_, Cargo::kRowsBack, bytes_of_all(rows_RC, dispatch));
}

ExpertTraffic expert_traffic(const ModelConfig& config, const ModelPart& part, int64_t ranks) {
  if (ranks == 1) return {};
  const int64_t last = std::min(part.last_layer, config.layers);
  int64_t layers = 0, recomputed = 0;
  for (int64_t i = part.first_layer; i < last; ++i) {
    if (!config.has_experts(i)) continue;
    ++layers;
    // All but the model's last, which is still there.
    if (config.recompute && i + 1 < config.layers) ++recomputed;
  }
  const int64_t row_bytes = config.hidden * static_cast<int64_t>(size_of(config.dtype));
  const auto gate_bytes = static_cast<int64_t>(size_of(wide_of(config.dtype)));
  // Of a row n, its gate and y; then dy, n again, dgate and dn. A layer that is recomputed sends n and its
  // gate once more.
  return {.counts_bytes = (layers + recomputed) * (ranks - 1) * config.experts.count *
                          static_cast<int64_t>(sizeof(int32_t)),
          .row_bytes = layers * (5 * row_bytes + 2 * gate_bytes) + recomputed * (row_bytes + gate_bytes)};
}

}  // namespace fern
