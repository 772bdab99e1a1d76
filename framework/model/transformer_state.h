// What a Transformer is made of. Private to its source files.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "framework/layers/attention.h"
#include "framework/layers/block.h"
#include "framework/layers/embedding.h"
#include "framework/layers/feed_forward.h"
#include "framework/layers/head.h"
#include "framework/layers/norm.h"
#include "framework/layers/routing_state.h"
#include "framework/model/transformer.h"
#include "framework/model/value_source.h"
#include "framework/ops/packing_rooms.h"

namespace fern {

struct Layer {
  AttentionBlock attention;
  FeedForwardBlock feed_forward;
  ParameterRun parameters;
  ParameterRun own_experts = {0, 0};  // that ranks share; empty where they share none
};

struct LayerSaved {
  AttentionBlock::Saved attention;
  FeedForwardBlock::Saved feed_forward;
};

// What one layer of any kind that there is saves.
LayerSaved allocate_inside(Arena& arena, std::span<const Layer> layers, int64_t tokens);

struct Transformer::State {
  State(const ModelConfig& config, const std::vector<ModelPart>& parts, TensorAxis* axis,
        ContextAxis* context_axis, TokenDispatcher* dispatcher);
  State(const State&) = delete;

  // The model's first part is here, or its last.
  bool is_first() const { return parts.front().first_layer == 0; }
  bool is_last() const { return parts.back().last_layer == config.layers; }
  // The one numbered so of those here is.
  bool is_first(size_t part) const { return parts[part].first_layer == 0; }
  bool is_last(size_t part) const { return parts[part].last_layer == config.layers; }
  std::span<const Layer> layers_of(size_t part) const;
  // With recomputation all layers share one inside, which may be there already, and each of the part keeps
  // only its own input.
  std::vector<LayerSaved> allocate_layers(Arena& arena, size_t part, int64_t tokens,
                                          const LayerSaved* inside) const;
  // The first and the last part of a tied model are apart, and one of them is here.
  bool shares_embedding() const { return config.tie_embeddings && is_first() != is_last(); }
  // Embedding, layers and final norm, as far as the part of `tensors` has them, of the inputs there; the
  // result is scratch.n_TD, in the last part, or the sum in x_TD.
  void forward_layers(Activations::Tensors& tensors, Stream& stream) const;
  void embed(const Tensor& x_TD, const Tensor& input_T, const Tensor& room_TD, Stream& stream) const;
  // Adds the table's gradient: to its sum, where it has one.
  void embed_backward(const Tensor& dx_TD, const Tensor& input_T, const Tensor& room_TD,
                      Stream& stream) const;
  // Fills what the part's layer `layer` saved again, from its input.
  void recompute_layer(Activations::Tensors& tensors, size_t layer, Stream& stream) const;
  // Appends the first `piece` tokens of cache.input_B; logits of the last go to cache.logits_1V.
  void decode(KvCache& cache, int64_t piece, Stream& stream) const;

  ModelConfig config;
  std::vector<ModelPart> parts;
  LoneAxis lone;
  TensorAxis& axis;
  LoneContext whole_context;
  ContextAxis& context_axis;
  LoneDispatcher lone_dispatcher;
  TokenDispatcher& dispatcher;
  Parameters parameters;
  HeldValues held;
  ValueSource* values = &held;
  RoutingState routing;  // before the layers, which borrow it
  RoutingRecord record;
  PackingRooms packing_rooms;          // before what has packed weights there
  std::optional<Embedding> embedding;  // where its weight is held
  std::vector<Layer> layers;           // of all parts here
  std::optional<Norm> norm;
  std::optional<Head> head;
  Tensor embedding_copy_VD;  // of the first of several parts of a tied model
  Tensor embedding_sum;      // the embedding's own gradient, where it is summed apart
};

struct Transformer::Activations::Tensors {
  size_t part = 0;  // of those here
  Tensor input_T;
  Positions positions;
  RoutedPositions routed;
  std::vector<LayerSaved> layers;  // of the part
  Tensor x_TD, rstd_T;             // into the final norm, or the next part: the rows of this rank
  Tensor dx_TD;                    // gradient of the residual stream: the same rows
  Tensor loss_T;                   // f64
  BlockScratch scratch;
  Head::Scratch head;

  std::span<double> losses() const { return loss_T.values<double>(); }
  // Where the branch of layer i's feed-forward goes: into the next norm's input.
  const Tensor& after(size_t layer) const {
    return layer + 1 < layers.size() ? layers[layer + 1].attention.x_TD : x_TD;
  }
};

}  // namespace fern
