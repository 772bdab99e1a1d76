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

ParameterRun add_head(Parameters& parameters, const ModelConfig& config, int embedding_weight) {
  if (config.tie_embeddings) return {embedding_weight, 1};
  return {parameters.add("lm_head.weight", {config.vocabulary, config.hidden}, ParameterKind::kEmbedding,
                         kInitialStd),
          1};
}

Head::Scratch first(const Head::Scratch& scratch, int64_t rows) {
  return {scratch.position_C.rows(0, rows), scratch.n_CD.rows(0, rows),     scratch.logits_CV.rows(0, rows),
          scratch.target_C.rows(0, rows),   scratch.weight_C.rows(0, rows), scratch.loss_C.rows(0, rows)};
}

// Takes the next positions with a target, from `position` on, into a chunk; empty at the end.
Head::Scratch next_chunk(int64_t& position, const Head::Scratch& scratch, std::span<const int32_t> target_T) {
  int64_t rows = 0;
  const auto end = static_cast<int64_t>(target_T.size());
  for (; position < end && rows < scratch.n_CD.dim(0); ++position) {
    const auto t = static_cast<size_t>(position);
    if (target_T[t] < 0) continue;
    scratch.position_C.as<int32_t>()[rows] = static_cast<int32_t>(position);
    scratch.target_C.as<int32_t>()[rows] = target_T[t];
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

Head::Head(Parameters& parameters, const ModelConfig& config, int embedding_weight)
    : config_(config), weight_(parameters, add_head(parameters, config, embedding_weight)) {}

Head::Scratch Head::allocate(Arena& arena, int64_t tokens) const {
  const int64_t rows = std::min(tokens, chunk_rows(config_.vocabulary));
  return {arena.allocate(DType::kI32, {rows}),
          arena.allocate(config_.dtype, {rows, config_.hidden}),
          arena.allocate(config_.dtype, {rows, config_.vocabulary}),
          arena.allocate(DType::kI32, {rows}),
          arena.allocate(wide_of(config_.dtype), {rows}),
          arena.allocate(DType::kF64, {rows})};
}

void Head::reserve_packed(PackingRooms& rooms, const WeightUse& use) { weight_.reserve_packed(rooms, use); }

void Head::forward_backward(std::span<double> loss_T, Tensor dn_TD, const Scratch& scratch,
                            const Tensor& n_TD, std::span<const int32_t> target_T,
                            std::span<const float> weight_T, Stream& stream) const {
  std::fill(loss_T.begin(), loss_T.end(), 0.0);
  fill_zero(dn_TD);
  for (int64_t position = 0;;) {
    const Scratch chunk = next_chunk(position, scratch, target_T);
    if (chunk.n_CD.dim(0) == 0) break;
    embedding_forward(chunk.n_CD, n_TD, chunk.position_C, stream);
    weight_.forward(chunk.logits_CV, chunk.n_CD, stream);
    gather_weight(chunk, weight_T);
    cross_entropy_forward_backward(chunk.loss_C, chunk.logits_CV, chunk.target_C, chunk.weight_C, stream);
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
    const Scratch chunk = next_chunk(position, scratch, target_T);
    if (chunk.n_CD.dim(0) == 0) break;
    embedding_forward(chunk.n_CD, n_TD, chunk.position_C, stream);
    weight_.forward(chunk.logits_CV, chunk.n_CD, stream);
    cross_entropy_forward(chunk.loss_C, chunk.logits_CV, chunk.target_C, stream);
    scatter_loss(loss_T, chunk);
  }
}

void Head::logits(Tensor logits_TV, const Tensor& n_TD, Stream& stream) const {
  weight_.forward(logits_TV, n_TD, stream);
}

void Head::report(GradSink& sink) const {
  if (!config_.tie_embeddings) weight_.report(sink);
}

}  // namespace fern
