#include "launch/training_run.h"

#include "framework/model/config_json.h"
#include "parallel/layer_split.h"

namespace fern {

namespace {

// Patterns first: they say how much room the parameters take.
std::unique_ptr<Topology> topology_of(Parameters& parameters, const Topology::Part& part,
                                      const Recipe& recipe, const LoadedModel* weights,
                                      const ContinuedRun* continued, Arena& arena) {
  std::unique_ptr<Method> method = set_recipe_patterns(parameters, part.whole, recipe, weights, continued);
  if (!method) return nullptr;
  take_room_of_shares(parameters, part.whole, recipe, continued);
  return std::make_unique<Topology>(std::move(method), parameters, arena, part);
}

std::unique_ptr<GradReducer> score_reducer(const Topology* topology, int64_t shards,
                                           MeshCommunicators& communicators, Arena& arena) {
  if (topology == nullptr || topology->scored().empty()) return nullptr;
  return parallelize_scores(topology->scored(), topology->experts_begin(), communicators, shards, arena);
}

RunFolder run_folder(const Recipe& recipe, const ModelConfig& model, const TrainingData& data,
                     const std::filesystem::path& folder) {
  RunFolder run{
      .checkpoints = folder / "checkpoints", .manifest = {}, .tokenizer_model = data.tokenizer().path()};
  run.manifest.model = to_json(model);
  run.manifest.recipe = to_toml(recipe);
  run.manifest.tokenizer_sha256 = data.tokenizer().sha256();
  return run;
}

}  // namespace

// Null: every matrix is whole here.
TensorAxis* TrainingRun::tensor_axis() {
  if (communicators_.mesh().tensor == 1) return nullptr;
  return &axis_.emplace(communicators_.tensor(), activations_arena_);
}

// Null: every sequence is whole here.
ContextAxis* TrainingRun::context_axis() {
  if (communicators_.context() == nullptr) return nullptr;
  return &context_axis_.emplace(*communicators_.context());
}

// Null: all experts are here.
TokenDispatcher* TrainingRun::dispatcher() {
  if (communicators_.mesh().expert == 1) return nullptr;
  return &dispatcher_.emplace(*communicators_.experts());
}

// The parameters, with what they begin with.
Parameters& TrainingRun::in_place(const Recipe& recipe) {
  Parameters& parameters = model_.parameters();
  const std::unique_ptr<LoadedModel> weights = std::move(weights_);
  parameters.allocate(values_arena_, gradients_arena_, wide_of(model_.config().dtype));
  const Mesh& mesh = communicators_.mesh();
  const bool fetches = fetches_values(parameters, mesh);
  if (fetches)
    parameters.keep_values(kept_values(parameters, mesh, replica_index(mesh, communicators_.place())));
  model_.allocate_packed_weights(packed_arena_, tokens_of_pass(recipe, model_.config(), mesh), fetches);
  set_recipe_values(parameters, recipe, weights.get());
  if (weights && weights->model.config().experts.count > 0)
    model_.routing().restore(weights->model.routing().memory());
  return parameters;
}

TrainingRun::TrainingRun(const Recipe& recipe, const ModelConfig& model, const Mesh& mesh,
                         const ArenaSizes& sizes, const TrainingData& data,
                         const std::filesystem::path& folder, Communicator& communicator,
                         const ContinuedRun* continued)
    : values_arena_(flat_arena("values", sizes.values, sizes.room, recipe.device)),
      gradients_arena_(flat_arena("gradients", sizes.gradients, sizes.room, recipe.device)),
      packed_arena_("packed weights", sizes.packed, recipe.device),
      optimizer_arena_(flat_arena("optimizer", sizes.optimizer, sizes.optimizer_room, recipe.device)),
      reduction_arena_(flat_arena("reduction", sizes.reduction, sizes.reduction_room, recipe.device)),
      activations_arena_("activations", sizes.activations, recipe.device),
      topology_arena_("topology", sizes.topology, recipe.device),
      communicators_(mesh, communicator),
      whole_(mesh.pipeline * mesh.tensor * mesh.expert > 1 ? std::optional<Transformer>(model)
                                                           : std::nullopt),
      model_(model, parts_of_stage(model, mesh, communicators_.place().stage), tensor_axis(), context_axis(),
             dispatcher()),
      weights_(continued != nullptr ? nullptr
                                    : load_initial_weights(recipe, model, data.tokenizer().sha256())),
      pattern_link_(communicators_),
      topology_(topology_of(model_.parameters(), {all(), pattern_link_}, recipe, weights_.get(), continued,
                            topology_arena_)),
      reducers_(
          parallelize(in_place(recipe), communicators_, recipe.batch.reduction_shards, reduction_arena_)),
      scored_gradients_(
          score_reducer(topology_.get(), recipe.batch.reduction_shards, communicators_, topology_arena_)),
      optimizer_(recipe.optimizer, model_.parameters(), reducers_.gradients->slices(), optimizer_arena_),
      link_(model, tokens_of_pass(recipe, model, mesh), communicators_, activations_arena_),
      tensors_(all(), model_.parameters(), optimizer_, communicators_),
      ledger_(data.names()),
      trainer_(recipe.train,
               {.model = model_,
                .optimizer = optimizer_,
                .schedule = recipe.schedule,
                .loader = data.loader(),
                .gradients = *reducers_.gradients,
                .scalars = *reducers_.scalars,
                .ledger = ledger_,
                .topology = topology_.get(),
                .scored_gradients = scored_gradients_.get(),
                .link = &link_,
                .tensors = &tensors_,
                .whole = whole_ ? &whole_->parameters() : nullptr},
               run_folder(recipe, model, data, folder), activations_arena_) {
  if (reducers_.values) model_.take_values_from(*reducers_.values);
}

}  // namespace fern
