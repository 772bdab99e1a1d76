#include "framework/model/transformer.h"

#include <algorithm>
#include <cmath>

#include "framework/model/transformer_state.h"
#include "framework/ops/embedding.h"
#include "framework/ops/rms_norm.h"
#include "framework/sparsity/product_choice.h"
#include "framework/sparsity/sparse_embedding.h"

namespace fern {

namespace {

const ModelConfig& validated(const ModelConfig& config, const TensorAxis* axis, const ContextAxis* context,
                             const TokenDispatcher* dispatcher) {
  validate(config);
  if (axis != nullptr) validate_shares(config, axis->size());
  if (context != nullptr) validate_context(config, context->size());
  if (dispatcher != nullptr) validate_expert_shares(config, dispatcher->size());
  return config;
}

std::vector<ModelPart> resolved(std::vector<ModelPart> parts, const ModelConfig& config) {
  if (parts.empty()) parts.resize(1);
  int64_t end = 0;
  for (ModelPart& part : parts) {
    part.last_layer = std::min(part.last_layer, config.layers);
    expect(end <= part.first_layer && part.first_layer < part.last_layer,
           "[model] expected a part of at least one of {} layers, after layer {}, got layers {} to {}",
           config.layers, end - 1, part.first_layer, part.last_layer - 1);
    end = part.last_layer;
  }
  return parts;
}

std::vector<Layer> make_layers(Parameters& parameters, TensorAxis& axis, ContextAxis& context_axis,
                               TokenDispatcher& dispatcher, const ModelConfig& config,
                               const std::vector<ModelPart>& parts, const RoutingState& routing) {
  std::vector<Layer> layers;
  layers.reserve(static_cast<size_t>(config.layers));
  for (const ModelPart& part : parts)
    for (int64_t i = part.first_layer; i < part.last_layer; ++i) {
      parameters.begin_group();
      const auto first = static_cast<int>(parameters.list().size());
      AttentionBlock attention(parameters, axis, context_axis, config, i);
      FeedForwardBlock feed_forward(parameters, axis, dispatcher, config, i, routing);
      const int count = static_cast<int>(parameters.list().size()) - first;
      layers.push_back({.attention = std::move(attention),
                        .feed_forward = std::move(feed_forward),
                        .parameters = {first, count}});
    }
  return layers;
}

// Padding goes to no expert.
void copy_languages(const Tensor& to_T, const MicroBatch& batch) {
  const std::span<int32_t> language_T = to_T.values<int32_t>();
  std::ranges::fill(language_T, -1);
  for (int64_t s = 0; s < batch.sequences; ++s)
    std::fill_n(language_T.begin() + s * batch.context, batch.length_S[static_cast<size_t>(s)],
                batch.language_S[static_cast<size_t>(s)]);
}

void expect_fits(const MicroBatch& batch, int64_t tokens, const ModelConfig& config,
                 const ContextAxis& context_axis) {
  expect(
      static_cast<int64_t>(batch.input_T.size()) == tokens && batch.sequences * batch.context == tokens,
      "[model] expected a micro-batch of {} positions, as its activations are, got {} ({} sequences of {})",
      tokens, batch.input_T.size(), batch.sequences, batch.context);
  expect(std::ssize(batch.length_S) == batch.sequences && std::ssize(batch.language_S) == batch.sequences,
         "[model] expected lengths and languages of {} sequences, got {} and {}", batch.sequences,
         batch.length_S.size(), batch.language_S.size());
  const int64_t sequence = batch.context * context_axis.size();
  expect(sequence <= config.context,
         "[model] expected sequences of at most model.context = {} positions, got {}", config.context,
         sequence);
}

void copy_in(const Tensor& to_T, const std::vector<int32_t>& from_T) {
  std::copy(from_T.begin(), from_T.end(), to_T.values<int32_t>().begin());
}

}  // namespace

LayerSaved allocate_inside(Arena& arena, std::span<const Layer> layers, int64_t tokens) {
  LayerSaved inside = {layers[0].attention.allocate(arena, tokens),
                       layers[0].feed_forward.allocate(arena, tokens)};
  for (const Layer& layer : layers) layer.feed_forward.allocate_missing(inside.feed_forward, arena, tokens);
  return inside;
}

Transformer::State::State(const ModelConfig& model_config, const std::vector<ModelPart>& model_parts,
                          TensorAxis* tensor_axis, ContextAxis* sequence_axis,
                          TokenDispatcher* token_dispatcher)
    : config(validated(model_config, tensor_axis, sequence_axis, token_dispatcher)),
      parts(resolved(model_parts, config)),
      axis(tensor_axis != nullptr ? *tensor_axis : lone),
      context_axis(sequence_axis != nullptr ? *sequence_axis : whole_context),
      dispatcher(token_dispatcher != nullptr ? *token_dispatcher : lone_dispatcher),
      routing(config) {
  if (config.tie_embeddings ? is_last() : is_first()) embedding.emplace(parameters, axis, config);
  layers = make_layers(parameters, axis, context_axis, dispatcher, config, parts, routing);
  if (is_last()) {
    parameters.begin_group();
    norm.emplace(parameters, axis, "model.norm.weight", config.hidden, config.norm_epsilon);
    head.emplace(parameters, axis, config, embedding ? embedding->weight() : -1);
  }
  if (dispatcher.size() == 1) return;
  parameters.begin_own_experts();
  for (Layer& layer : layers) {
    const auto first = static_cast<int>(parameters.list().size());
    layer.feed_forward.add_experts();
    layer.own_experts = {first, static_cast<int>(parameters.list().size()) - first};
  }
}

std::span<const Layer> Transformer::State::layers_of(size_t part) const {
  size_t begin = 0;
  for (size_t i = 0; i < part; ++i) begin += static_cast<size_t>(parts[i].layers());
  return std::span(layers).subspan(begin, static_cast<size_t>(parts[part].layers()));
}

std::vector<LayerSaved> Transformer::State::allocate_layers(Arena& arena, size_t part, int64_t tokens,
                                                            const LayerSaved* inside) const {
  const std::span<const Layer> of_part = layers_of(part);
  std::vector<LayerSaved> saved;
  if (config.recompute) {
    saved.assign(of_part.size(), inside != nullptr ? *inside : allocate_inside(arena, layers, tokens));
    for (size_t i = inside != nullptr ? 0 : 1; i < of_part.size(); ++i)
      saved[i].attention.x_TD = arena.allocate(config.dtype, {axis.own(tokens).elements(), config.hidden});
    return saved;
  }
  for (const Layer& layer : of_part)
    saved.push_back({layer.attention.allocate(arena, tokens), layer.feed_forward.allocate(arena, tokens)});
  return saved;
}

void Transformer::State::embed(const Tensor& x_TD, const Tensor& input_T, const Tensor& room_TD,
                               Stream& stream) const {
  if (!shares_embedding()) {
    const FetchedValues here(*values, {embedding->weight(), 1});
    return embedding->forward(x_TD, input_T, room_TD, stream);
  }
  expect_ids(input_T, config.vocabulary);
  const Tensor sum_TD = axis.room_of_sum(x_TD, room_TD);
  embedding_forward_rows(sum_TD, embedding_copy_VD, input_T, axis.own(config.vocabulary).begin, stream);
  axis.reduce_scatter(x_TD, sum_TD, stream);
}

void Transformer::State::embed_backward(const Tensor& dx_TD, const Tensor& input_T, const Tensor& room_TD,
                                        Stream& stream) const {
  const Tensor gradient = embedding->gradient();
  const Tensor sum =
      embedding_sum.empty() ? gradient : embedding_sum.rows(0, gradient.elements()).reshape(gradient.shape());
  embedding->backward(sum, dx_TD, input_T, room_TD, stream);
}

void Transformer::State::forward_layers(Activations::Tensors& tensors, Stream& stream) const {
  const std::span<const Layer> of_part = layers_of(tensors.part);
  const int64_t first_layer = parts[tensors.part].first_layer;
  stream.enter(Activity::kForward);
  if (is_first(tensors.part))
    embed(tensors.layers[0].attention.x_TD, tensors.input_T, tensors.scratch.n_TD, stream);
  Tensor residual_TD;
  for (size_t i = 0; i < of_part.size(); ++i) {
    const Layer& layer = of_part[i];
    const LayerSaved& saved = tensors.layers[i];
    stream.enter(Activity::kForward, first_layer + static_cast<int64_t>(i));
    const FetchedValues here(*values, layer.parameters), experts(*values, layer.own_experts);
    layer.attention.forward(saved.feed_forward.x_TD, saved.attention, tensors.scratch, residual_TD,
                            tensors.positions, stream);
    layer.feed_forward.forward(tensors.after(i), saved.feed_forward, tensors.scratch, saved.attention.x_TD,
                               tensors.routed, stream);
    residual_TD = saved.feed_forward.x_TD;
  }
  stream.enter(Activity::kForward);
  if (!is_last(tensors.part)) return add_residual(tensors.x_TD, residual_TD, stream);
  const FetchedValues here(*values, {norm->weight(), 1});
  norm->forward(axis.own_rows(tensors.scratch.n_TD), tensors.x_TD, tensors.rstd_T, residual_TD, stream);
  axis.all_gather(tensors.scratch.n_TD, stream);
}

void Transformer::State::recompute_layer(Activations::Tensors& tensors, size_t layer, Stream& stream) const {
  const Layer& recomputed = layers_of(tensors.part)[layer];
  const LayerSaved& saved = tensors.layers[layer];
  RoutedPositions routed = tensors.routed;
  routed.record = nullptr;  // it was recorded
  recomputed.attention.forward(saved.feed_forward.x_TD, saved.attention, tensors.scratch, {},
                               tensors.positions, stream);
  recomputed.feed_forward.recompute(saved.feed_forward, tensors.scratch, saved.attention.x_TD, routed,
                                    stream);
}

Transformer::Activations::Activations(std::unique_ptr<Tensors> tensors) : tensors_(std::move(tensors)) {}
Transformer::Activations::~Activations() = default;

Transformer::Transformer(const ModelConfig& config, const std::vector<ModelPart>& parts, TensorAxis* axis,
                         ContextAxis* context_axis, TokenDispatcher* dispatcher)
    : state_(std::make_unique<State>(config, parts, axis, context_axis, dispatcher)) {}
Transformer::~Transformer() = default;
Transformer::Transformer(Transformer&&) noexcept = default;
const ModelConfig& Transformer::config() const { return state_->config; }
const std::vector<ModelPart>& Transformer::parts() const { return state_->parts; }
const TensorAxis& Transformer::axis() const { return state_->axis; }
const ContextAxis& Transformer::context_axis() const { return state_->context_axis; }
const TokenDispatcher& Transformer::dispatcher() const { return state_->dispatcher; }
bool Transformer::is_first() const { return state_->is_first(); }
bool Transformer::is_last() const { return state_->is_last(); }
Parameters& Transformer::parameters() { return state_->parameters; }
const Parameters& Transformer::parameters() const { return state_->parameters; }
void Transformer::take_values_from(ValueSource& source) { state_->values = &source; }
ValueSource& Transformer::values() const { return *state_->values; }
RoutingState& Transformer::routing() { return state_->routing; }
const RoutingState& Transformer::routing() const { return state_->routing; }
RoutingRecord& Transformer::routing_record() { return state_->record; }

std::vector<ParameterRun> Transformer::fetched_values() const {
  std::vector<ParameterRun> fetched;
  if (is_first() && !state_->shares_embedding()) fetched.push_back({state_->embedding->weight(), 1});
  for (const Layer& layer : state_->layers) {
    fetched.insert(fetched.end(), 2, layer.parameters);
    if (layer.own_experts.count > 0) fetched.insert(fetched.end(), 2, layer.own_experts);
  }
  if (is_last()) fetched.insert(fetched.end(), 2, {state_->norm->weight(), 1});
  if (is_last()) fetched.push_back(state_->head->parameters());
  return fetched;
}

void Transformer::allocate_packed_weights(Arena& arena, int64_t tokens, bool share) {
  Parameters& parameters = state_->parameters;
  std::vector<ParameterRun> expanded = parameters.hardly_sparse_later();
  for (const auto& [run, pattern] : parameters.sparse_runs())
    if (!parameters.is_shared(run) && prefers_dense(pattern, state_->config.dtype)) expanded.push_back(run);
  std::erase_if(expanded, [&](ParameterRun run) { return !parameters.is_multiplied(run); });
  if (!expanded.empty() && state_->config.dtype == DType::kF32)
    parameters.allocate_dense_room(arena, expanded);
  const WeightUse use = {state_->config.dtype, static_cast<double>(tokens), share};
  PackingRooms& rooms = state_->packing_rooms = PackingRooms();
  for (Layer& layer : state_->layers) {
    layer.attention.reserve_packed(rooms, use);
    layer.feed_forward.reserve_packed(rooms, use);
  }
  if (state_->head) state_->head->reserve_packed(rooms, use);
  rooms.allocate(arena);
}

void Transformer::allocate_embedding_sum(Arena& arena) {
  const ModelConfig& config = state_->config;
  if (!config.tie_embeddings || !state_->embedding) return;
  const Parameters& parameters = state_->parameters;
  const int index = state_->embedding->weight();
  const Parameter& weight = parameters.list()[static_cast<size_t>(index)];
  const auto& later = parameters.hardly_sparse_later();
  int64_t elements = parameters.most_elements(index);
  // Weights that compete with those of other matrices may move here.
  if (weight.place.whole == 0 && std::ranges::find(later, ParameterRun{index}) != later.end())
    elements = std::min(weight.shape.elements(), parameters.elements());
  state_->embedding_sum = arena.allocate(wide_of(config.dtype), {elements});
}

Tensor Transformer::shared_embedding() const {
  if (!state_->shares_embedding() || is_first()) return state_->embedding_copy_VD;
  return state_->parameters.value(state_->embedding->weight());
}

ParameterRun Transformer::shared_values() const {
  if (!state_->shares_embedding() || is_first()) return {0, 0};
  return {state_->embedding->weight(), 1};
}

void Transformer::allocate_embedding_copy(Arena& arena) {
  const ModelConfig& config = state_->config;
  if (state_->is_first() && state_->shares_embedding())
    state_->embedding_copy_VD = arena.allocate(
        wide_of(config.dtype), {state_->axis.own(config.vocabulary).elements(), config.hidden});
}

std::unique_ptr<Transformer::Activations> Transformer::allocate_activations(Arena& arena, int64_t tokens,
                                                                            const Activations* share,
                                                                            size_t part) const {
  const ModelConfig& config = state_->config;
  const int64_t own_tokens = state_->axis.own(tokens).elements();
  auto tensors = std::make_unique<Activations::Tensors>();
  const Activations::Tensors* shared = share != nullptr ? share->tensors_.get() : nullptr;
  tensors->part = part;
  tensors->input_T = arena.allocate(DType::kI32, {tokens});
  tensors->positions = allocate_positions(arena, config, state_->context_axis, tokens,
                                          shared != nullptr ? &shared->positions : nullptr);
  tensors->routed.language_T = arena.allocate(DType::kI32, {tokens});
  tensors->layers =
      state_->allocate_layers(arena, part, tokens, shared != nullptr ? shared->layers.data() : nullptr);
  tensors->x_TD = arena.allocate(config.dtype, {own_tokens, config.hidden});
  if (shared == nullptr) {
    tensors->dx_TD = arena.allocate(config.dtype, {own_tokens, config.hidden});
    tensors->scratch = allocate_block_scratch(arena, config, state_->axis, state_->dispatcher, tokens);
    if (state_->context_axis.size() > 1)
      tensors->scratch.ring =
          allocate_ring(arena, config.dtype, tokens, 2 * LayerShare(config, state_->axis).kv_size());
    if (state_->is_last()) tensors->head = state_->head->allocate(arena, tokens);
  } else {
    tensors->dx_TD = shared->dx_TD;
    tensors->scratch = shared->scratch;
    tensors->head = shared->head;
  }
  if (state_->is_last(part)) {
    tensors->rstd_T = arena.allocate(wide_of(config.dtype), {own_tokens});
    tensors->loss_T = arena.allocate(DType::kF64, {tokens});
  }
  return std::unique_ptr<Activations>(new Activations(std::move(tensors)));
}

bool Transformer::is_first(const Activations& activations) const {
  return state_->is_first(activations.tensors_->part);
}

bool Transformer::is_last(const Activations& activations) const {
  return state_->is_last(activations.tensors_->part);
}

Tensor Transformer::input_of(const Activations& activations) const {
  return is_first(activations) ? Tensor() : activations.tensors_->layers[0].attention.x_TD;
}

Tensor Transformer::output_of(const Activations& activations) const {
  return is_last(activations) ? Tensor() : activations.tensors_->x_TD;
}

Tensor Transformer::gradient_of(const Activations& activations) const { return activations.tensors_->dx_TD; }

double Transformer::forward(Activations& activations, std::span<double> sequence_loss_S,
                            const MicroBatch& batch, Stream& stream) {
  Activations::Tensors& tensors = *activations.tensors_;
  expect_fits(batch, tensors.input_T.dim(0), state_->config, state_->context_axis);
  expect(static_cast<int64_t>(sequence_loss_S.size()) == batch.sequences,
         "[model] expected room for the losses of {} sequences, got {}", batch.sequences,
         sequence_loss_S.size());
  copy_in(tensors.input_T, batch.input_T);
  set_positions(tensors.positions, batch.document_start_T, batch.context * state_->context_axis.size(),
                state_->context_axis);
  copy_languages(tensors.routed.language_T, batch);
  tensors.routed.training = true;
  tensors.routed.token_weight = batch.batch_tokens > 0 ? 1 / static_cast<double>(batch.batch_tokens) : 0;
  tensors.routed.record = &state_->record;
  state_->record.losses.assign(static_cast<size_t>(state_->config.expert_layers()), {});
  state_->forward_layers(tensors, stream);
  std::ranges::fill(sequence_loss_S, 0.0);
  if (!state_->is_last(tensors.part)) return 0;
  const std::span<double> loss_T = tensors.losses();
  const FetchedValues here(*state_->values, state_->head->parameters());
  state_->head->forward_backward(loss_T, tensors.scratch.dhidden_TD, tensors.head, tensors.scratch.n_TD,
                                 batch.target_T, batch.loss_weight_T, stream);
  double weighted_sum = 0;
  for (size_t t = 0; t < loss_T.size(); ++t) {
    weighted_sum += double{batch.loss_weight_T[t]} * loss_T[t];
    sequence_loss_S[t / static_cast<size_t>(batch.context)] += loss_T[t];
  }
  return weighted_sum;
}

void Transformer::backward(Activations& activations, const MicroBatch& batch, GradSink& sink,
                           Stream& stream) {
  Activations::Tensors& tensors = *activations.tensors_;
  expect_fits(batch, tensors.input_T.dim(0), state_->config, state_->context_axis);
  const Tensor& dx_TD = tensors.dx_TD;
  stream.enter(Activity::kBackward);
  const BlockScratch& scratch = tensors.scratch;
  const bool is_last = state_->is_last(tensors.part);
  if (is_last) {
    state_->head->report(sink);
    fill_zero(dx_TD);
    const Tensor own_dhidden_TD = state_->axis.own_rows(scratch.dhidden_TD);
    state_->axis.reduce_scatter(own_dhidden_TD, scratch.dhidden_TD, stream);
    const FetchedValues here(*state_->values, {state_->norm->weight(), 1});
    state_->norm->backward(dx_TD, own_dhidden_TD, tensors.x_TD, tensors.rstd_T, scratch.dw_D, sink, stream);
  }
  const std::span<const Layer> layers = state_->layers_of(tensors.part);
  for (size_t i = layers.size(); i-- > 0;) {
    const Layer& layer = layers[i];
    const LayerSaved& saved = tensors.layers[i];
    const bool still_there = is_last && i + 1 == layers.size();  // others come between, elsewhere
    stream.enter(Activity::kBackward, state_->parts[tensors.part].first_layer + static_cast<int64_t>(i));
    const FetchedValues here(*state_->values, layer.parameters), experts(*state_->values, layer.own_experts);
    if (state_->config.recompute && !still_there) state_->recompute_layer(tensors, i, stream);
    layer.feed_forward.backward(dx_TD, saved.feed_forward, tensors.scratch, tensors.routed, sink, stream);
    layer.attention.backward(dx_TD, saved.attention, tensors.scratch, tensors.positions, sink, stream);
  }
  stream.enter(Activity::kBackward);
  if (!state_->is_first(tensors.part) || state_->shares_embedding()) return;
  state_->embed_backward(dx_TD, tensors.input_T, scratch.dy_TD, stream);
  if (state_->embedding_sum.empty()) state_->embedding->report(sink);
}

void Transformer::add_embedded(const Activations& activations, const MicroBatch& batch, Stream& stream) {
  const Activations::Tensors& tensors = *activations.tensors_;
  // Only read.
  const Tensor input_T = Tensor::of(const_cast<int32_t*>(batch.input_T.data()), {std::ssize(batch.input_T)});
  state_->embed_backward(tensors.dx_TD, input_T, tensors.scratch.dy_TD, stream);
}

void Transformer::end_shard() {
  if (state_->embedding_sum.empty()) return;
  const Tensor gradient = state_->embedding->gradient();
  with_wide_type("end_shard", gradient.dtype(), [&]<typename T>() {
    T *all = gradient.as<T>(), *sum = state_->embedding_sum.as<T>();
    const int64_t elements = gradient.elements();
#pragma omp parallel for simd
    for (int64_t i = 0; i < elements; ++i) {
      all[i] += sum[i];
      sum[i] = 0;
    }
  });
}

void Transformer::score(std::span<float> loss_T, Activations& activations, const MicroBatch& batch,
                        Stream& stream) {
  Activations::Tensors& tensors = *activations.tensors_;
  expect_fits(batch, tensors.input_T.dim(0), state_->config, state_->context_axis);
  expect(loss_T.size() == batch.input_T.size(), "[model] expected room for {} losses, got {}",
         batch.input_T.size(), loss_T.size());
  copy_in(tensors.input_T, batch.input_T);
  set_positions(tensors.positions, batch.document_start_T, batch.context * state_->context_axis.size(),
                state_->context_axis);
  copy_languages(tensors.routed.language_T, batch);
  tensors.routed.training = false;
  tensors.routed.record = nullptr;
  state_->forward_layers(tensors, stream);
  state_->head->forward(tensors.losses(), tensors.head, tensors.scratch.n_TD, batch.target_T, stream);
  std::transform(tensors.losses().begin(), tensors.losses().end(), loss_T.begin(),
                 [](double loss) { return static_cast<float>(loss); });
}

namespace {

double training_flops(const ModelConfig& config, int64_t weights, int64_t context) {
  return 6.0 * static_cast<double>(weights) +
         6.0 * static_cast<double>(config.layers * config.query_size()) * static_cast<double>(context);
}

}  // namespace

double training_flops_per_token(const ModelConfig& config, int64_t context) {
  const ExpertConfig& experts = config.experts;
  const int64_t attention = config.hidden * 2 * (config.heads + config.kv_heads) * config.head_size();
  const int64_t dense_layers = config.layers - config.expert_layers();
  const int64_t of_experts = experts.count + 3 * (experts.active + experts.shared) * config.expert_ffn();
  const int64_t matrices = config.layers * attention + dense_layers * 3 * config.hidden * config.ffn +
                           config.expert_layers() * config.hidden * of_experts;
  return training_flops(config, matrices + config.vocabulary * config.hidden, context);
}

double training_flops_per_token(const ModelConfig& config, const Parameters& parameters, int64_t context) {
  double matrices = 0, head = 0;  // the head is the last embedding, or the only one
  for (const Parameter& parameter : parameters.list()) {
    const auto used = parameter.token_share * static_cast<double>(parameter.elements());
    if (parameter.kind == ParameterKind::kMatrix || parameter.kind == ParameterKind::kRouter)
      matrices += used;
    if (parameter.kind == ParameterKind::kEmbedding) head = used;
  }
  return training_flops(config, std::llround(matrices + head), context);
}

}  // namespace fern
