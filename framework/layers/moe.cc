#include "framework/layers/moe.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/ops/swiglu.h"

namespace fern {

namespace {

std::string prefix_of(int64_t layer) { return fmt::format("model.layers.{}.block_sparse_moe", layer); }

int add_router(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config, int64_t layer) {
  return parameters.add(prefix_of(layer) + ".gate.weight", {config.experts.count, config.hidden},
                        ParameterKind::kRouter, kInitialStd, 1, axis.replicated());
}

// The rows that there are, of tensors with room for all.
Tensor used(const Tensor& rows, const TokenPermutation& permutation) {
  return rows.rows(0, permutation.rows());
}

}  // namespace

Moe::Saved Moe::Saved::first(int64_t tokens) const {
  const int64_t active = routing.expert_TK.dim(1);
  Saved cut = {.routing = routing.first(tokens),
               .permutation = permutation.first(tokens),
               .gate_up_R2F = gate_up_R2F.rows(0, tokens * active),
               .shared_gate_up_T2S = {}};
  if (!shared_gate_up_T2S.empty()) cut.shared_gate_up_T2S = shared_gate_up_T2S.rows(0, tokens);
  return cut;
}

Moe::Products Moe::add_experts(Parameters& parameters, const TensorAxis& axis, const ModelConfig& config,
                               int64_t layer) {
  const ExpertConfig& experts = config.experts;
  const int64_t whole = config.expert_ffn(), own = axis.own(whole).elements();
  const double token_share = static_cast<double>(experts.active) / static_cast<double>(experts.count);
  Products products;
  for (int64_t e = 0; e < experts.count; ++e) {
    const auto add = [&](const char* name, Shape shape, double std, const Placement& place) {
      return parameters.add(fmt::format("{}.experts.{}.{}.weight", prefix_of(layer), e, name), shape,
                            ParameterKind::kMatrix, std, token_share, place);
    };
    const int gate = add("w1", {own, config.hidden}, kInitialStd, axis.rows(whole));
    add("w3", {own, config.hidden}, kInitialStd, axis.rows(whole));
    products.gate_up.emplace_back(parameters, ParameterRun{gate, 2});
    const int down = add("w2", {config.hidden, own}, residual_initial_std(config), axis.columns(whole));
    products.down.emplace_back(parameters, ParameterRun{down, 1});
  }
  return products;
}

Moe::Moe(Parameters& parameters, TensorAxis& axis, const ModelConfig& config, int64_t layer,
         const RoutingState& state)
    : Moe{parameters,
          axis,
          config,
          layer,
          state,
          add_router(parameters, axis, config, layer),
          add_experts(parameters, axis, config, layer)} {}

Moe::Moe(Parameters& parameters, TensorAxis& axis, const ModelConfig& config, int64_t layer,
         const RoutingState& state, int router, Products products)
    : config_(config),
      axis_(axis),
      expert_ffn_(axis.own(config.expert_ffn()).elements()),
      index_(layer / config.experts.every),
      state_(state),
      parameters_(parameters),
      router_(router),
      gate_up_proj_(std::move(products.gate_up)),
      down_proj_(std::move(products.down)) {
  const int64_t shared = config.experts.shared;
  if (shared > 0)
    shared_.emplace(parameters, axis, config, prefix_of(layer) + ".shared_expert",
                    shared * config.expert_ffn());
}

Moe::Saved Moe::allocate(Arena& arena, int64_t tokens) const {
  const int64_t experts = config_.experts.count, active = config_.experts.active;
  const DType wide = wide_of(config_.dtype);
  Saved saved;
  saved.routing = {.probs_TE = arena.allocate(wide, {tokens, experts}),
                   .expert_TK = arena.allocate(DType::kI32, {tokens, active}),
                   .gate_TK = arena.allocate(wide, {tokens, active}),
                   .lse_T = arena.allocate(wide, {tokens}),
                   .entropy_T = arena.allocate(wide, {tokens})};
  saved.permutation = {.first_E1 = arena.allocate(DType::kI32, {experts + 1}),
                       .choice_TK = arena.allocate(DType::kI32, {tokens, active}),
                       .row_TK = arena.allocate(DType::kI32, {tokens, active})};
  saved.gate_up_R2F = arena.allocate(config_.dtype, {tokens * active, 2 * expert_ffn_});
  if (shared_) saved.shared_gate_up_T2S = arena.allocate(config_.dtype, {tokens, 2 * shared_->ffn()});
  return saved;
}

void Moe::reserve_packed(PackingRooms& rooms, const WeightUse& use) {
  gate_up_proj_.reserve_packed(rooms, use);
  down_proj_.reserve_packed(rooms, use);
  if (shared_) shared_->reserve_packed(rooms, use);
}

RoutingRule Moe::rule(const RoutedPositions& positions) const {
  return {.renormalise = config_.experts.router == RouterKind::kMixtral,
          .bias_E = Tensor::of(state_.bias_E(index_).data(), {config_.experts.count}),
          .correction_LE = positions.training ? state_.correction_LE(index_) : Tensor()};
}

RouterLossWeights Moe::loss_weights(const RoutedPositions& positions) const {
  const ExpertConfig& experts = config_.experts;
  const double of_token = positions.token_weight;
  const bool corrects = positions.training && state_.languages() > 0;
  return {.share_E = Tensor::of(state_.share_E(index_).data(), {experts.count}),
          .balance = experts.balance_loss * static_cast<double>(experts.count) * of_token,
          .correction_LE = corrects ? state_.correction_LE(index_) : Tensor(),
          .language_T = positions.language_T,
          .push = corrects ? kCorrectionPush * of_token : 0,
          .z = experts.z_loss * of_token};
}

void Moe::project(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
                  const RoutedPositions& positions, Stream& stream) const {
  const ExpertConfig& experts = config_.experts;
  const TokenPermutation& permutation = saved.permutation;
  router_forward(scratch.logits_TE, n_TD, parameters_.value(router_), stream);
  route_forward(saved.routing, scratch.logits_TE, positions.language_T, rule(positions), stream);
  const std::span<const int32_t> language_T = positions.language_T.values<int32_t>();
  const int64_t tokens = std::ssize(language_T) - std::ranges::count(language_T, -1);
  permute_tokens(permutation, saved.routing.expert_TK,
                 expert_capacity(experts.capacity_factor, tokens, experts.active, experts.count), stream);
  const Tensor rows_RD = used(scratch.rows_RD, permutation);
  gather_rows(rows_RD, n_TD, permutation, stream);
  gate_up_proj_.forward(used(saved.gate_up_R2F, permutation), rows_RD, permutation.first_E1, stream);
  if (shared_) shared_->project(saved.shared_gate_up_T2S, n_TD, stream);
  if (positions.record == nullptr) return;
  positions.record->losses[static_cast<size_t>(index_)] =
      router_losses(saved.routing, loss_weights(positions));
  if (positions.record->counts.languages() > 0)
    positions.record->counts.add(index_, saved.routing, permutation, positions.language_T);
}

void Moe::finish(Tensor y_TD, const Saved& saved, const BlockScratch& scratch, Stream& stream) const {
  const TokenPermutation& permutation = saved.permutation;
  if (shared_) shared_->finish(y_TD, scratch.h_TS, saved.shared_gate_up_T2S, stream);
  const Tensor h_RF = used(scratch.h_RF, permutation), rows_RD = used(scratch.rows_RD, permutation);
  weighted_swiglu_forward(h_RF, used(saved.gate_up_R2F, permutation), saved.routing.gate_TK,
                          permutation.choice_TK, stream);
  down_proj_.forward(rows_RD, h_RF, permutation.first_E1, stream);
  combine_rows(y_TD, rows_RD, permutation, /*accumulate=*/shared_.has_value(), stream);
}

void Moe::backward_experts(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
                           const Tensor& dy_TD, GradSink& sink, Stream& stream) const {
  const TokenPermutation& permutation = saved.permutation;
  const Tensor rows_RD = used(scratch.rows_RD, permutation), h_RF = used(scratch.h_RF, permutation),
               gate_up_R2F = used(saved.gate_up_R2F, permutation);
  const Tensor &dh_RF = h_RF, &dgate_up_R2F = gate_up_R2F, &first_E1 = permutation.first_E1;
  weighted_swiglu_forward(h_RF, gate_up_R2F, saved.routing.gate_TK, permutation.choice_TK, stream);
  gather_rows(rows_RD, dy_TD, permutation, stream);
  down_proj_.backward_weight(rows_RD, h_RF, first_E1, stream);
  down_proj_.backward_input(dh_RF, rows_RD, first_E1, stream);
  fill_zero(scratch.dgate_TK);
  weighted_swiglu_backward(dgate_up_R2F, scratch.dgate_TK, dh_RF, gate_up_R2F, saved.routing.gate_TK,
                           permutation.choice_TK, stream);
  gather_rows(rows_RD, n_TD, permutation, stream);
  gate_up_proj_.backward_weight(dgate_up_R2F, rows_RD, first_E1, stream);
  report_experts(sink);
  gate_up_proj_.backward_input(rows_RD, dgate_up_R2F, first_E1, stream);
}

// Parameters by expert, the last first.
void Moe::report_experts(GradSink& sink) const {
  for (int64_t e = config_.experts.count; e-- > 0;) {
    down_proj_.report(sink, e);
    gate_up_proj_.report(sink, e);
  }
}

void Moe::backward_router(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
                          const RoutedPositions& positions, GradSink& sink, Stream& stream) const {
  const Tensor& dlogits_TE = scratch.logits_TE;
  route_backward(dlogits_TE, scratch.dgate_TK, saved.routing, rule(positions), loss_weights(positions),
                 stream);
  router_backward_weight(parameters_.gradient(router_), dlogits_TE, n_TD, stream);
  sink.add(parameters_.list()[static_cast<size_t>(router_)]);
}

void Moe::backward(Tensor n_dn_TD, const Saved& saved, const BlockScratch& scratch, const Tensor& dy_TD,
                   const RoutedPositions& positions, GradSink& sink, Stream& stream) const {
  backward_experts(saved, scratch, n_dn_TD, dy_TD, sink, stream);
  axis_.all_reduce(scratch.dgate_TK, stream);
  backward_router(saved, scratch, n_dn_TD, positions, sink, stream);
  if (shared_) shared_->backward(n_dn_TD, scratch.h_TS, saved.shared_gate_up_T2S, dy_TD, sink, stream);
  combine_rows(n_dn_TD, used(scratch.rows_RD, saved.permutation), saved.permutation,
               /*accumulate=*/shared_.has_value(), stream);
  // Of its own rows each rank adds the router's part, so that the sum over ranks has it once.
  router_backward_input(axis_.own_rows(n_dn_TD), axis_.own_rows(scratch.logits_TE),
                        parameters_.value(router_), stream);
}

}  // namespace fern
