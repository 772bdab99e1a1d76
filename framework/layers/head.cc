#include "framework/layers/head.h"

#include <algorithm>

#include "framework/ops/cross_entropy.h"
#include "framework/ops/embedding.h"

namespace fern {

namespace {

// Logits that a chunk may hold. Fewer rows would pass over the weight's gradient more often.
constexpr int64_t kChunkLogits = 8 << 20;
constexpr int64_t kChunkRows = 64;  // least rows, and their unit: whole tiles for the product

int64_t chunk_rows(int64_t vocabulary) {
  return std::max(kChunkRows, kChunkLogits / vocabulary / kChunkRows * kChunkRows);
}

ParameterRun add_head(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config,
                      int embedding_weight) {
  if (config.tie_embeddings) return {embedding_weight, 1};
  return {parameters.add("lm_head.weight", {axis.own(config.vocabulary).elements(), config.hidden},
                         ParameterKind::kEmbedding, kInitialStd, 1, axis.rows(config.vocabulary)),
          1};
}

// The first rows of an [N, C, 3] tensor's memory, as an [N, rows, 3] one.
Tensor first_stats(const Tensor& stats_NC3, int64_t rows) {
  if (stats_NC3.shape().rank() == 0) return {};
  return Tensor(stats_NC3.data(), stats_NC3.dtype(), {stats_NC3.dim(0), rows, stats_NC3.dim(2)});
}

Head::Scratch first(const Head::Scratch& scratch, int64_t rows) {
  return {.position_C = scratch.position_C.rows(0, rows),
          .n_CD = scratch.n_CD.rows(0, rows),
          .logits_CV = scratch.logits_CV.rows(0, rows),
          .target_C = scratch.target_C.rows(0, rows),
          .weight_C = scratch.weight_C.rows(0, rows),
          .loss_C = scratch.loss_C.rows(0, rows),
          .stats_NC3 = first_stats(scratch.stats_NC3, rows),
          .scale_C2 = scratch.scale_C2.empty() ? Tensor() : scratch.scale_C2.rows(0, rows)};
}

// Takes the next positions with a target, from `position` on, into a chunk; empty at the end.
Head::Scratch next_chunk(int64_t& position, const Head::Scratch& scratch, std::span<const int32_t> target_T,
                         int64_t first_id) {
  int64_t rows = 0;
  const auto end = static_cast<int64_t>(target_T.size());
  for (; position < end && rows < scratch.n_CD.dim(0); ++position) {
    const auto t = static_cast<size_t>(position);
    if (target_T[t] < 0) continue;
    scratch.position_C.as<int32_t>()[rows] = static_cast<int32_t>(position);
    scratch.target_C.as<int32_t>()[rows] = target_T[t] - static_cast<int32_t>(first_id);
    ++rows;
  }
  return first(scratch, rows);
}

void gather_weight(const Head::Scratch& chunk, std::span<const float> weight_T) {
  with_wide_type("head", chunk.weight_C.dtype(), [&]<typename T>() {
    const int32_t* position = chunk.position_C.as<int32_t>();
    for (int64_t row = 0; row < chunk.weight_C.dim(0); ++row)
      chunk.weight_C.as<T>()[row] = weight_T[static_cast<size_t>(position[row])];
  });
}

void scatter_loss(std::span<double> loss_T, const Head::Scratch& chunk) {
  for (int64_t row = 0; row < chunk.loss_C.dim(0); ++row)
    loss_T[static_cast<size_t>(chunk.position_C.as<int32_t>()[row])] = chunk.loss_C.as<double>()[row];
}

}  // namespace

Head::Head(Parameters& parameters, TensorAxis& axis, const ModelConfig& config, int embedding_weight)
    : config_(config),
      axis_(axis),
      vocabulary_(axis.own(config.vocabulary)),
      weight_(parameters, add_head(parameters, axis, config, embedding_weight)) {}

Head::Scratch Head::allocate(Arena& arena, int64_t tokens) const {
  const int64_t ranks = axis_.size(), largest_share = (config_.vocabulary + ranks - 1) / ranks;
  const int64_t rows = std::min(tokens, chunk_rows(largest_share));  // the same on all ranks
  Scratch scratch = {.position_C = arena.allocate(DType::kI32, {rows}),
                     .n_CD = arena.allocate(config_.dtype, {rows, config_.hidden}),
                     .logits_CV = arena.allocate(config_.dtype, {rows, vocabulary_.elements()}),
                     .target_C = arena.allocate(DType::kI32, {rows}),
                     .weight_C = arena.allocate(wide_of(config_.dtype), {rows}),
                     .loss_C = arena.allocate(DType::kF64, {rows}),
                     .stats_NC3 = {},
                     .scale_C2 = {}};
  if (ranks == 1) return scratch;
  scratch.stats_NC3 = arena.allocate(DType::kF64, {ranks, rows, 3});
  scratch.scale_C2 = arena.allocate(DType::kF64, {rows, 2});
  return scratch;
}

void Head::reserve_packed(PackingRooms& rooms, const WeightUse& use) { weight_.reserve_packed(rooms, use); }

void Head::forward_backward(std::span<double> loss_T, Tensor dn_TD, const Scratch& scratch,
                            const Tensor& n_TD, std::span<const int32_t> target_T,
                            std::span<const float> weight_T, Stream& stream) const {
  std::fill(loss_T.begin(), loss_T.end(), 0.0);
  fill_zero(dn_TD);
  for (int64_t position = 0;;) {
    const Scratch chunk = next_chunk(position, scratch, target_T, vocabulary_.begin);
    if (chunk.n_CD.dim(0) == 0) break;
    embedding_forward(chunk.n_CD, n_TD, chunk.position_C, stream);
    weight_.forward(chunk.logits_CV, chunk.n_CD, stream);
    gather_weight(chunk, weight_T);
    loss_and_gradient(chunk, stream);
    const Tensor &dlogits_CV = chunk.logits_CV, &dn_CD = chunk.n_CD;
    weight_.backward_weight(dlogits_CV, chunk.n_CD, stream);
    weight_.backward_input(dn_CD, dlogits_CV, stream);
    embedding_backward(dn_TD, dn_CD, chunk.position_C, stream);
    scatter_loss(loss_T, chunk);
  }
}

void Head::forward(std::span<double> loss_T, const Scratch& scratch, const Tensor& n_TD,
                   std::span<const int32_t> target_T, Stream& stream) const {
  std::fill(loss_T.begin(), loss_T.end(), 0.0);
  for (int64_t position = 0;;) {
    const Scratch chunk = next_chunk(position, scratch, target_T, vocabulary_.begin);
    if (chunk.n_CD.dim(0) == 0) break;
    embedding_forward(chunk.n_CD, n_TD, chunk.position_C, stream);
    weight_.forward(chunk.logits_CV, chunk.n_CD, stream);
    if (axis_.size() == 1)
      cross_entropy_forward(chunk.loss_C, chunk.logits_CV, chunk.target_C, stream);
    else
      join_loss(chunk, stream);
    scatter_loss(loss_T, chunk);
  }
}

void Head::loss_and_gradient(const Scratch& chunk, Stream& stream) const {
  if (axis_.size() == 1)
    return cross_entropy_forward_backward(chunk.loss_C, chunk.logits_CV, chunk.target_C, chunk.weight_C,
                                          stream);
  join_loss(chunk, stream);
  cross_entropy_backward(chunk.logits_CV, chunk.scale_C2, chunk.target_C, chunk.weight_C, stream);
}

void Head::join_loss(const Scratch& chunk, Stream& stream) const {
  const Tensor stats_C3 = axis_.own_rows(chunk.stats_NC3).reshape({chunk.loss_C.dim(0), 3});
  cross_entropy_stats(stats_C3, chunk.logits_CV, chunk.target_C, stream);
  axis_.all_gather(chunk.stats_NC3, stream);
  cross_entropy_join(chunk.loss_C, chunk.scale_C2, chunk.stats_NC3, stream);
}

void Head::logits(Tensor logits_TV, const Tensor& n_TD, Stream& stream) const {
  weight_.forward(logits_TV, n_TD, stream);
}

void Head::report(GradSink& sink) const {
  if (!config_.tie_embeddings) weight_.report(sink);
}

}  // namespace fern
