// Logits one token after another, from a cache of keys and values; and of whole documents, for checks.
#include <algorithm>

#include "framework/model/transformer.h"
#include "framework/model/transformer_state.h"

namespace fern {

namespace {

// A long prompt goes through the layers in pieces of this many tokens.
constexpr int64_t kPieceTokens = 64;

void copy_out(std::span<float> to, const Tensor& from) {
  with_float_type("model", from.dtype(), [&]<typename T>() {
    const std::span<T> values = from.values<T>();
    std::transform(values.begin(), values.end(), to.begin(),
                   [](T value) { return static_cast<float>(widen(value)); });
  });
}

}  // namespace

struct KvCache {
  Arena arena = Arena::measuring("generation");
  std::vector<KeyValues> layers;
  Positions positions;
  RoutedPositions routed;
  LayerSaved saved;  // of one piece, all layers in turn
  BlockScratch scratch;
  Tensor input_B, logits_1V;
  std::vector<float> logits;
  int64_t length = 0, capacity = 0;
};

std::unique_ptr<KvCache, void (*)(KvCache*)> Transformer::make_cache(int64_t capacity) const {
  const ModelConfig& config = state_->config;
  expect(1 <= capacity && capacity <= config.context,
         "[model] expected room for 1 to model.context = {} positions, got {}", config.context, capacity);
  KvCache cache;
  const auto build = [&](Arena& arena) {
    cache.layers.clear();
    for (int64_t i = 0; i < config.layers; ++i) {
      const Shape rows = {capacity, config.kv_heads * config.head_size()};
      cache.layers.push_back({arena.allocate(config.dtype, rows), arena.allocate(config.dtype, rows)});
    }
    cache.positions = allocate_positions(arena, config, state_->context_axis, kPieceTokens);
    cache.routed.language_T = arena.allocate(DType::kI32, {kPieceTokens});
    cache.saved = allocate_inside(arena, state_->layers, kPieceTokens);
    cache.scratch = allocate_block_scratch(arena, config, state_->axis, state_->dispatcher, kPieceTokens);
    cache.input_B = arena.allocate(DType::kI32, {kPieceTokens});
    cache.logits_1V = arena.allocate(config.dtype, {1, config.vocabulary});
  };
  cache.arena = sized_arena("generation", build);
  const std::vector<int32_t> one_document(kPieceTokens);
  set_positions(cache.positions, one_document, kPieceTokens, state_->context_axis);
  cache.logits.resize(static_cast<size_t>(config.vocabulary));
  cache.capacity = capacity;
  return {new KvCache(std::move(cache)), [](KvCache* owned) { delete owned; }};
}

std::span<const float> Transformer::next_logits(KvCache& cache, std::span<const int32_t> tokens,
                                                Stream& stream) const {
  const auto count = static_cast<int64_t>(tokens.size());
  expect(1 <= count && cache.length + count <= cache.capacity,
         "[model] expected 1 to {} tokens: the cache holds {} of at most {}; got {}",
         cache.capacity - cache.length, cache.length, cache.capacity, count);
  for (int64_t begin = 0; begin < count; begin += kPieceTokens) {
    const int64_t piece = std::min(kPieceTokens, count - begin);
    std::copy_n(tokens.begin() + begin, piece, cache.input_B.as<int32_t>());
    state_->decode(cache, piece, stream);
    cache.length += piece;
  }
  copy_out(cache.logits, cache.logits_1V);
  return cache.logits;
}

void Transformer::State::decode(KvCache& cache, int64_t piece, Stream& stream) const {
  const LayerSaved saved = {cache.saved.attention.first(piece), cache.saved.feed_forward.first(piece)};
  const Tensor &x_BD = saved.attention.x_TD, &after_attention_BD = saved.feed_forward.x_TD;
  BlockScratch scratch = cache.scratch.first(piece);
  Positions positions = cache.positions;
  positions.position_T = positions.position_T.rows(0, piece);
  RoutedPositions routed = cache.routed;
  routed.language_T = routed.language_T.rows(0, piece);
  embedding->forward(x_BD, cache.input_B.rows(0, piece), scratch.n_TD, stream);
  Tensor residual_BD;
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].attention.decode(after_attention_BD, cache.layers[i], saved.attention, scratch, residual_BD,
                               positions, cache.length, stream);
    layers[i].feed_forward.forward(x_BD, saved.feed_forward, scratch, x_BD, routed, stream);
    residual_BD = after_attention_BD;
  }
  norm->forward(scratch.n_TD, x_BD, saved.attention.rstd_T, residual_BD, stream);
  head->logits(cache.logits_1V, scratch.n_TD.rows(piece - 1, piece), stream);
}

std::vector<float> Transformer::logits(std::span<const int32_t> tokens, Stream& stream) const {
  const auto count = static_cast<int64_t>(tokens.size());
  expect(1 <= count && count <= state_->config.context,
         "[model] expected a document of 1 to model.context = {} tokens, got {}", state_->config.context,
         count);
  std::unique_ptr<Activations> activations;
  Tensor logits_TV;
  const Arena arena = sized_arena("logits", [&](Arena& arena) {
    activations = allocate_activations(arena, count);
    logits_TV = arena.allocate(state_->config.dtype, {count, state_->config.vocabulary});
  });
  std::copy(tokens.begin(), tokens.end(), activations->tensors_->input_T.values<int32_t>().begin());
  const std::vector<int32_t> one_document(tokens.size());
  set_positions(activations->tensors_->positions, one_document, count, state_->context_axis);
  state_->forward_layers(*activations->tensors_, stream);
  state_->head->logits(logits_TV, activations->tensors_->scratch.n_TD, stream);
  std::vector<float> result(static_cast<size_t>(logits_TV.elements()));
  copy_out(result, logits_TV);
  return result;
}

}  // namespace fern
