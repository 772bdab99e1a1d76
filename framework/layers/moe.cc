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
template <typename Rows>
Tensor used(const Tensor& room, const Rows& rows) {
  return room.rows(0, rows.rows());
}

}  // namespace

Moe::Saved Moe::Saved::first(int64_t tokens) const {
  const int64_t active = routing.expert_TK.dim(1);
  Saved cut = {.routing = routing.first(tokens),
               .permutation = permutation.first(tokens),
               .dispatch = dispatch,
               .gate_Q = gate_Q.rows(0, tokens * active),
               .gate_up_Q2F = gate_up_Q2F.rows(0, tokens * active),
               .shared_gate_up_T2S = {}};
  if (!shared_gate_up_T2S.empty()) cut.shared_gate_up_T2S = shared_gate_up_T2S.rows(0, tokens);
  return cut;
}

Moe::Moe(Parameters& parameters, TensorAxis& axis, TokenDispatcher& dispatcher, const ModelConfig& config,
         int64_t layer, const RoutingState& state)
    : config_(config),
      axis_(axis),
      dispatcher_(dispatcher),
      own_experts_(dispatcher.own(config.experts.count)),
      expert_ffn_(axis.own(config.expert_ffn()).elements()),
      layer_(layer),
      index_(layer / config.experts.every),
      state_(state),
      parameters_(parameters),
      router_(add_router(parameters, axis, config, layer)) {
  if (dispatcher.size() == 1) add_experts();
  const int64_t shared = config.experts.shared;
  if (shared == 0) return;
  parameters.begin_group();
  shared_.emplace(parameters, axis, config, prefix_of(layer) + ".shared_expert",
                  shared * config.expert_ffn());
}

void Moe::add_experts() {
  const ExpertConfig& experts = config_.experts;
  const int64_t whole = config_.expert_ffn(), hidden = config_.hidden;
  const double token_share = static_cast<double>(experts.active) / static_cast<double>(experts.count);
  parameters_.begin_group();
  for (int64_t e = own_experts_.begin; e < own_experts_.end; ++e) {
    const auto add = [&](const char* name, Shape shape, double std, const Placement& place) {
      return parameters_.add(fmt::format("{}.experts.{}.{}.weight", prefix_of(layer_), e, name), shape,
                             ParameterKind::kMatrix, std, token_share, place);
    };
    const int gate = add("w1", {expert_ffn_, hidden}, kInitialStd, axis_.rows(whole));
    add("w3", {expert_ffn_, hidden}, kInitialStd, axis_.rows(whole));
    gate_up_proj_.add(Linear(parameters_, ParameterRun{gate, 2}));
    const int down = add("w2", {hidden, expert_ffn_}, residual_initial_std(config_), axis_.columns(whole));
    down_proj_.add(Linear(parameters_, ParameterRun{down, 1}));
  }
}

Moe::Saved Moe::allocate(Arena& arena, int64_t tokens) const {
  const int64_t experts = config_.experts.count, active = config_.experts.active;
  const int64_t rows_here = tokens * dispatcher_.most_rows(active, experts);
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
  saved.dispatch = dispatcher_.allocate(arena, saved.permutation);
  saved.gate_Q = arena.allocate(wide, {rows_here});
  saved.gate_up_Q2F = arena.allocate(config_.dtype, {rows_here, 2 * expert_ffn_});
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

Tensor Moe::at_experts(const Saved& saved, const BlockScratch& scratch, const Tensor& x_TD,
                       Stream& stream) const {
  const Tensor here_QD = used(scratch.here_QD, saved.dispatch),
               rows_RD = dispatcher_.own_rows(here_QD, used(scratch.rows_RD, saved.permutation));
  gather_rows(rows_RD, x_TD, saved.permutation, stream);
  dispatcher_.dispatch(here_QD, rows_RD, saved.dispatch, stream);
  return here_QD;
}

Tensor Moe::from_experts(const Saved& saved, const BlockScratch& scratch, Stream& stream) const {
  const Tensor here_QD = used(scratch.here_QD, saved.dispatch),
               rows_RD = dispatcher_.own_rows(here_QD, used(scratch.rows_RD, saved.permutation));
  dispatcher_.collect(rows_RD, here_QD, saved.dispatch, stream);
  return rows_RD;
}

void Moe::send_gates(const Saved& saved, const BlockScratch& scratch, Stream& stream) const {
  const Tensor gate_Q = used(saved.gate_Q, saved.dispatch),
               gate_R = dispatcher_.own_rows(gate_Q, used(scratch.gate_R, saved.permutation));
  gather_gates(gate_R, saved.routing.gate_TK, saved.permutation, stream);
  dispatcher_.dispatch(gate_Q, gate_R, saved.dispatch, stream);
}

void Moe::collect_gates(const Saved& saved, const BlockScratch& scratch, Stream& stream) const {
  const Tensor dgate_Q = used(scratch.dgate_Q, saved.dispatch),
               dgate_R = dispatcher_.own_rows(dgate_Q, used(scratch.gate_R, saved.permutation));
  dispatcher_.collect(dgate_R, dgate_Q, saved.dispatch, stream);
  scatter_gates(scratch.dgate_TK, dgate_R, saved.permutation, stream);
}

void Moe::project(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
                  const RoutedPositions& positions, Stream& stream) const {
  const ExpertConfig& experts = config_.experts;
  const TokenPermutation& permutation = saved.permutation;
  const Dispatch& dispatch = saved.dispatch;
  router_forward(scratch.logits_TE, n_TD, parameters_.value(router_), stream);
  route_forward(saved.routing, scratch.logits_TE, positions.language_T, rule(positions), stream);
  const std::span<const int32_t> language_T = positions.language_T.values<int32_t>();
  const int64_t tokens = std::ssize(language_T) - std::ranges::count(language_T, -1);
  permute_tokens(permutation, saved.routing.expert_TK,
                 expert_capacity(experts.capacity_factor, tokens, experts.active, experts.count), stream);
  dispatcher_.count(dispatch, permutation.first_E1, stream);
  send_gates(saved, scratch, stream);
  gate_up_proj_.forward(used(saved.gate_up_Q2F, dispatch), at_experts(saved, scratch, n_TD, stream),
                        dispatch.first_X1, stream);
  if (shared_) shared_->project(saved.shared_gate_up_T2S, n_TD, stream);
  if (positions.record == nullptr) return;
  positions.record->losses[static_cast<size_t>(index_)] =
      router_losses(saved.routing, loss_weights(positions));
  if (positions.record->counts.languages() > 0)
    positions.record->counts.add(index_, saved.routing, permutation, positions.language_T);
}

void Moe::finish(Tensor y_TD, const Saved& saved, const BlockScratch& scratch, Stream& stream) const {
  const Dispatch& dispatch = saved.dispatch;
  if (shared_) shared_->finish(y_TD, scratch.h_TS, saved.shared_gate_up_T2S, stream);
  const Tensor h_QF = used(scratch.h_QF, dispatch);
  weighted_swiglu_forward(h_QF, used(saved.gate_up_Q2F, dispatch), used(saved.gate_Q, dispatch), stream);
  down_proj_.forward(used(scratch.here_QD, dispatch), h_QF, dispatch.first_X1, stream);
  combine_rows(y_TD, from_experts(saved, scratch, stream), saved.permutation,
               /*accumulate=*/shared_.has_value(), stream);
}

void Moe::backward_experts(const Saved& saved, const BlockScratch& scratch, const Tensor& n_TD,
                           const Tensor& dy_TD, GradSink& sink, Stream& stream) const {
  const Dispatch& dispatch = saved.dispatch;
  const Tensor h_QF = used(scratch.h_QF, dispatch), gate_up_Q2F = used(saved.gate_up_Q2F, dispatch),
               gate_Q = used(saved.gate_Q, dispatch);
  const Tensor &dh_QF = h_QF, &dgate_up_Q2F = gate_up_Q2F, &first_X1 = dispatch.first_X1;
  weighted_swiglu_forward(h_QF, gate_up_Q2F, gate_Q, stream);
  const Tensor dy_QD = at_experts(saved, scratch, dy_TD, stream);
  down_proj_.backward_weight(dy_QD, h_QF, first_X1, stream);
  down_proj_.backward_input(dh_QF, dy_QD, first_X1, stream);
  weighted_swiglu_backward(dgate_up_Q2F, used(scratch.dgate_Q, dispatch), dh_QF, gate_up_Q2F, gate_Q, stream);
  collect_gates(saved, scratch, stream);
  const Tensor n_QD = at_experts(saved, scratch, n_TD, stream), &dn_QD = n_QD;
  gate_up_proj_.backward_weight(dgate_up_Q2F, n_QD, first_X1, stream);
  report_experts(sink);
  gate_up_proj_.backward_input(dn_QD, dgate_up_Q2F, first_X1, stream);
}

// Parameters by expert, the last first.
void Moe::report_experts(GradSink& sink) const {
  for (int64_t e = own_experts_.elements(); e-- > 0;) {
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
  combine_rows(n_dn_TD, from_experts(saved, scratch, stream), saved.permutation,
               /*accumulate=*/shared_.has_value(), stream);
  // Of its own rows each rank adds the router's part, so that the sum over ranks has it once.
  router_backward_input(axis_.own_rows(n_dn_TD), axis_.own_rows(scratch.logits_TE),
                        parameters_.value(router_), stream);
}

}  // namespace fern
