// The decoder: embedding, L blocks, final norm, head with its loss. It knows nothing of ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/core/arena.h"
#include "framework/core/device.h"
#include "framework/data/micro_batch.h"
#include "framework/layers/context_axis.h"
#include "framework/layers/routing_state.h"
#include "framework/layers/tensor_axis.h"
#include "framework/layers/token_dispatcher.h"
#include "framework/model/config.h"
#include "framework/model/grad_sink.h"
#include "framework/model/parameters.h"
#include "framework/model/part.h"
#include "framework/model/value_source.h"

namespace fern {

// Keys and values of the tokens seen so far, for generation. One per sequence.
struct KvCache;

class Transformer {
 public:
  // Lays out the parameters of the parts (ascending; none are all layers in one), this rank's share of them
  // where there is an axis, and of the experts where there is a dispatcher; allocates nothing. With several
  // ranks on an axis all of them call forward() and backward() alike, of the same batches, which the context
  // axis cuts (data/context_share.h); those of a dispatcher of batches of their own, as large. score() and
  // generation are for one. All three are borrowed. Errors (kBadUsage): see validate(), validate_shares(),
  // validate_context() and validate_expert_shares().
  explicit Transformer(const ModelConfig& config, const std::vector<ModelPart>& parts = {},
                       TensorAxis* axis = nullptr, ContextAxis* context_axis = nullptr,
                       TokenDispatcher* dispatcher = nullptr);
  ~Transformer();
  Transformer(Transformer&&) noexcept;
  const ModelConfig& config() const;
  const std::vector<ModelPart>& parts() const;  // with the numbers of their last layers
  const TensorAxis& axis() const;
  const ContextAxis& context_axis() const;
  const TokenDispatcher& dispatcher() const;
  // The model's first part is here, or its last.
  bool is_first() const;
  bool is_last() const;
  Parameters& parameters();
  const Parameters& parameters() const;
  // Where forward() and backward() find the values; borrowed. Everything is in parameters(), unless told
  // otherwise.
  void take_values_from(ValueSource& source);
  ValueSource& values() const;
  // What they fetch for one micro-batch, each as often as it is fetched.
  std::vector<ParameterRun> fetched_values() const;
  // What experts are chosen by, beside the weights. Changes between steps only.
  RoutingState& routing();
  const RoutingState& routing() const;
  // What the last forward() left of the router's losses, and what all of them have counted since it was
  // cleared. Nothing is counted until its counts are made for some languages.
  RoutingRecord& routing_record();

  // Takes room for the weights as products read them fastest (ops/packed_weight.h); they are arranged by
  // themselves when the parameters' version has changed. Where forward() and backward() come with `tokens` at
  // a time that costs so little that weights share room (ops/packing_rooms.h). Also takes room for one dense
  // matrix, where patterns are hardly sparse or on their way from dense. Optional: without it training is
  // slower, in bf16 much. With `share` they share it whatever that costs: where values come and go.
  void allocate_packed_weights(Arena& arena, int64_t tokens = 1, bool share = false);

  // A tied embedding has two gradients, its own and the head's. With this memory they are summed apart until
  // end_shard(): needed when several micro-batches make a shard, so that the sum is in the same order
  // whether the head's part is here or in another process. Nothing is taken by a model that is not tied.
  void allocate_embedding_sum(Arena& arena);
  // Of the first of several parts of a tied model: memory for a copy of the embedding's values (V x D, of
  // this rank's share of V), to be filled by whoever calls forward. Nothing is taken by others.
  void allocate_embedding_copy(Arena& arena);
  // That copy; in the last of several parts of a tied model what it is a copy of; else empty.
  Tensor shared_embedding() const;
  // In the last of several parts of a tied model the values that are to be fetched while it is read; else
  // none.
  ParameterRun shared_values() const;

  // What forward keeps for backward, for one micro-batch of `tokens` positions in one of the parts here, with
  // the memory that layers share. With a measuring arena it only counts. Several may be in flight: those
  // after the first `share` what lives in a call only, which stays the first's. With config.recompute it is
  // small: a layer's input and one layer's inside; score() needs no more, whatever the model was trained
  // with.
  class Activations {
   public:
    ~Activations();

   private:
    friend class Transformer;
    struct Tensors;
    explicit Activations(std::unique_ptr<Tensors> tensors);
    std::unique_ptr<Tensors> tensors_;
  };
  std::unique_ptr<Activations> allocate_activations(Arena& arena, int64_t tokens,
                                                    const Activations* share = nullptr,
                                                    size_t part = 0) const;
  // Whether they are of the model's first part, or its last.
  bool is_first(const Activations& activations) const;
  bool is_last(const Activations& activations) const;
  // The residual stream between two parts, and its gradient, T x D of config.dtype (of the axis' rows, this
  // rank's): what forward finds in the input (empty in the first part) and leaves in the output (empty in the
  // last), and what backward finds in the gradient (but in the last part) and leaves there.
  Tensor input_of(const Activations& activations) const;
  Tensor output_of(const Activations& activations) const;
  Tensor gradient_of(const Activations& activations) const;

  // Sum over positions of loss_weight * cross-entropy (nats), and per packed sequence the unweighted sum of
  // cross-entropy over its targets (`sequence_loss_S`, one per sequence).
  // Logits of a batch are never stored: a chunk's gradient is taken while its logits are there. So forward
  // already adds the head's part to parameters().gradients(), and zeroing gradients comes before it; score()
  // adds nothing.
  // Losses of routers, which are not in the result, are in routing_record(), and so is what was routed where.
  // In a part that is not the last it returns 0 and leaves zeros.
  // Reads batch, writes activations. REQUIRES: parameters allocated. Errors: batch.input_T.size() differs
  // from the activations' tokens, a whole sequence has more than config().context positions, a token is not
  // in the vocabulary.
  double forward(Activations& activations, std::span<double> sequence_loss_S, const MicroBatch& batch,
                 Stream& stream);
  // Adds the micro-batch's other gradients to parameters().gradients(), in reverse order of layers, telling
  // `sink` as each parameter is done. REQUIRES: forward was the last call with these activations, on this
  // batch.
  void backward(Activations& activations, const MicroBatch& batch, GradSink& sink, Stream& stream);

  // With the last of several parts of a tied model: adds the embedding's gradient of a micro-batch, whose
  // backward has come to the first part with the gradient that now is gradient_of(activations), of any part.
  // In order; where a shard is one micro-batch, after its backward pass here.
  void add_embedded(const Activations& activations, const MicroBatch& batch, Stream& stream);
  // After a shard's last micro-batch: the gradients are whole.
  void end_shard();

  // Cross-entropy (nats) at each position with a target, 0 elsewhere; stores nothing for backward. REQUIRES,
  // as generation does: the part is the whole.
  void score(std::span<float> loss_T, Activations& activations, const MicroBatch& batch, Stream& stream);

  // Generation. A cache holds up to `capacity` positions, at most config().context.
  std::unique_ptr<KvCache, void (*)(KvCache*)> make_cache(int64_t capacity) const;
  // Appends `tokens` (one or more; a prompt at once, then one by one) to the cache and returns logits of the
  // last one: V floats, valid until the next call. Errors: more tokens than the cache has room for.
  std::span<const float> next_logits(KvCache& cache, std::span<const int32_t> tokens, Stream& stream) const;

  // Logits of every position of one document (n x V, row-major), computed by the plain path: for checks.
  // Errors: no token, or more than config().context.
  std::vector<float> logits(std::span<const int32_t> tokens, Stream& stream) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Multiply-adds times two for one token, forward and backward, with the experts that it uses, with attention
// over `context` positions (PaLM, appendix B, with causal attention counted as half): the number that
// tokens/s is turned into FLOP/s with.
double training_flops_per_token(const ModelConfig& config, int64_t context);
// The same of the weights that exist in `parameters`, which are this model's.
double training_flops_per_token(const ModelConfig& config, const Parameters& parameters, int64_t context);

}  // namespace fern
