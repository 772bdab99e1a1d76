#include "launch/cut_model.h"

#include <algorithm>

#include "framework/optim/grad_norm.h"
#include "framework/sparsity/budget.h"
#include "launch/initial_model.h"

namespace fern {

namespace {

// Without the entries of sparsity.layers whose layers, or kinds of them, the cut model lacks.
Recipe fitted(Recipe recipe, const ModelConfig& config) {
  SparsityConfig& sparsity = recipe.sparsity;
  if (sparsity.layer_names.empty()) return recipe;
  const Transformer model(config);
  for (size_t i = sparsity.layer_names.size(); i-- > 0;) {
    if (std::ranges::any_of(model.parameters().list(), [&](const Parameter& parameter) {
          return is_sparse(sparsity, parameter.name) && has_part(parameter.name, sparsity.layer_names[i]);
        }))
      continue;
    sparsity.layer_names.erase(sparsity.layer_names.begin() + static_cast<std::ptrdiff_t>(i));
    sparsity.layer_sparsities.erase(sparsity.layer_sparsities.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return recipe;
}

ArenaSizes sizes_of(const ModelConfig& config, Recipe recipe, const Mesh& mesh) {
  recipe.batch.reduction_shards /= mesh.data;
  return measure_arenas(config, fitted(std::move(recipe), config), Mesh{});
}

Parameters& in_place(Transformer& model, const Recipe& recipe, Arena& arena) {
  set_recipe_patterns(model.parameters(), model.parameters(), fitted(recipe, model.config()), nullptr);
  model.parameters().allocate(arena, wide_of(model.config().dtype));
  model.allocate_packed_weights(arena, recipe.batch.micro_sequences * model.config().context);
  model.parameters().initialize(1);
  return model.parameters();
}

}  // namespace

CutModel::CutModel(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh)
    : mesh_(mesh),
      sizes_(sizes_of(config, recipe, mesh)),
      parameters_arena_("parameters", sizes_.values + sizes_.gradients + sizes_.packed),
      optimizer_arena_("optimizer", sizes_.optimizer),
      reduction_arena_("reduction", sizes_.reduction),
      activations_arena_("activations", sizes_.activations),
      model_(config),
      reducer_(in_place(model_, recipe, parameters_arena_), recipe.batch.reduction_shards / mesh.data,
               reduction_arena_),
      optimizer_(recipe.optimizer, model_.parameters(),
                 mesh.zero > 0 ? share_of_elements() : reducer_.slices(), optimizer_arena_),
      activations_(
          model_.allocate_activations(activations_arena_, recipe.batch.micro_sequences * config.context)),
      sequence_losses_(static_cast<size_t>(recipe.batch.micro_sequences)),
      squares_(static_cast<size_t>(gradient_chunks(model_.parameters()))) {}

size_t CutModel::bytes(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh) {
  return sizes_of(config, recipe, mesh).total();
}

Slice CutModel::share_of_elements() const {
  const int64_t chunks = gradient_chunks(model_.parameters());
  return {0, std::max<int64_t>(1, chunks / mesh_.data) * kParameterChunk};
}

void CutModel::forward_backward(const MicroBatch& batch) {
  model_.forward(*activations_, sequence_losses_, batch, stream_);
  model_.backward(*activations_, batch, reducer_, stream_);
}

void CutModel::update() {
  for (int64_t i = 0; i < reducer_.shards(); ++i) {
    reducer_.begin_shard();
    reducer_.end_shard();
  }
  reducer_.finish();
  square_sums(squares_, model_.parameters(), share_of_elements());
  optimizer_.step(model_.parameters(), 0.0, 1.0, 1, stream_);
}

MicroBatch full_micro_batch(int64_t sequences, int64_t context, int64_t vocabulary) {
  constexpr int64_t kStride = 7919;  // spreads tokens over the vocabulary
  MicroBatch batch;
  reset(batch, sequences, context);
  for (int64_t t = 0; t < sequences * context; ++t) {
    const auto i = static_cast<size_t>(t);
    batch.input_T[i] = static_cast<int32_t>(t * kStride % vocabulary);
    batch.target_T[i] = static_cast<int32_t>((t + 1) * kStride % vocabulary);
    batch.document_start_T[i] = static_cast<int32_t>(t / context * context);
    batch.loss_weight_T[i] = 1.0f / static_cast<float>(sequences * context);
  }
  batch.tokens = batch.loss_tokens = batch.batch_tokens = sequences * context;
  batch.length_S.assign(static_cast<size_t>(sequences), static_cast<int32_t>(context));
  return batch;
}

}  // namespace fern
