#include "launch/initial_model.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "framework/model/config_json.h"
#include "framework/sparsity/pattern_making.h"
#include "framework/train/initial_patterns.h"
#include "framework/train/pruned_model.h"
#include "framework/train/trainer.h"
#include "framework/train/upcycled_model.h"
#include "launch/known_patterns.h"
#include "recipes/places.h"

namespace fern {

namespace {

bool begins_full(const Method& method) {
  const std::vector<SparseWeight>& weights = method.setup().weights;
  for (size_t i = 0; i < weights.size(); ++i)
    if (method.initial(i).blocks() < weights[i].blocks()) return false;
  return true;
}

// Of a dense model; none where the method begins with all weights, or with weights of its own choice.
std::vector<SparseRun> magnitude_runs(const Parameters& dense, const Recipe& recipe, const Method& method) {
  SparsityConfig config = recipe.sparsity;
  if (config.pattern == PatternKind::kButterfly || begins_full(method)) return {};
  if (config.method == SparsityMethod::kGradual) {
    if (config.pattern == PatternKind::kNm)
      fail_usage(
          "sparsity.initial_sparsity = {}: expected 0 with sparsity.pattern = \"n_of_m\" and a dense "
          "model.weights",
          config.initial_sparsity);
    config.sparsity = config.initial_sparsity;
  }
  config.method = SparsityMethod::kMagnitude;
  return pruned_patterns(config, dense, recipe.seed);
}

std::vector<int64_t> block_counts(const Parameters& parameters, const Method& method) {
  std::vector<int64_t> counts;
  for (const SparseWeight& weight : method.setup().weights) {
    const Parameter& parameter = parameters.list()[static_cast<size_t>(parameters.find(weight.name))];
    counts.push_back(parameter.nonzeros / weight.block.elements());
  }
  return counts;
}

// The patterns that another model gives; none where the method's own are to be taken.
std::vector<SparseRun> given_runs(const Parameters& parameters, const Recipe& recipe, const Method& method,
                                  const LoadedModel* weights) {
  const std::string& source = recipe.topology.empty() ? recipe.weights : recipe.topology;
  if (source.empty()) return {};
  const KnownPatterns known = known_patterns(source, parameters);
  if (!known.by_name.empty()) return known_runs(known, parameters, recipe, method);
  if (!recipe.topology.empty())
    fail_usage("sparsity.topology: expected a sparse checkpoint, got {}, which is dense",
               known.checkpoint.string());
  if (weights == nullptr) return {};
  return magnitude_runs(weights->model.parameters(), recipe, method);
}

// The first blocks of each weight: which of them exist does not matter yet, only how many.
std::vector<SparseRun> sized_runs(const Parameters& parameters, const Method& method,
                                  std::span<const int64_t> budget) {
  const std::vector<SparseWeight>& weights = method.setup().weights;
  expect(budget.size() == weights.size(), "[sparsity] expected the sizes of {} sparse weights, got {}",
         weights.size(), budget.size());
  std::vector<Pattern> patterns;
  for (size_t i = 0; i < weights.size(); ++i) {
    std::vector<uint64_t> positions(static_cast<size_t>(budget[i]));
    std::iota(positions.begin(), positions.end(), uint64_t{0});
    patterns.push_back(pattern_at(weights[i], positions));
  }
  return runs_of(parameters, method, std::move(patterns));
}

// set_recipe_patterns(), its errors without a place.
std::unique_ptr<Method> set_patterns(Parameters& parameters, Parameters& whole, const Recipe& recipe,
                                     const LoadedModel* weights, const ContinuedRun* continued) {
  std::unique_ptr<Method> method = make_method(recipe.sparsity, whole, recipe.train.steps, recipe.seed);
  if (!method) return nullptr;
  std::vector<SparseRun> given;
  if (continued == nullptr)
    given = given_runs(whole, recipe, *method, weights);
  else if (!continued->budget.empty())
    given = sized_runs(whole, *method, continued->budget);
  if (&whole != &parameters) set_first_sizes(whole, *method, given);
  if (given.empty()) {
    set_initial_patterns(parameters, *method);
    return method;
  }
  set_first_patterns(parameters, *method, runs_in(parameters, whole, std::move(given)));
  MethodSetup setup = method->setup();
  setup.budget = block_counts(whole, *method);
  return make_method(std::move(setup));
}

// What a dense model is as one with experts, in place of it.
std::unique_ptr<LoadedModel> upcycled(LoadedModel dense, const ModelConfig& config, uint64_t seed) {
  Transformer model(config);
  Arena arena = sized_arena("upcycled", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); });
  model.parameters().initialize(seed);
  upcycle(model.parameters(), dense.model.parameters());
  spdlog::info("each of the {} experts of a layer begins as a copy of its feed-forward",
               config.experts.count);
  if (const std::string reason = why_less_than_dense(config); !reason.empty())
    spdlog::warn("{}; so the model does not begin as the dense one", reason);
  return std::make_unique<LoadedModel>(LoadedModel{std::move(dense.checkpoint), std::move(dense.manifest),
                                                   std::move(arena), std::move(model),
                                                   std::move(dense.tokenizer)});
}

}  // namespace

std::optional<ContinuedRun> continued_run(const std::optional<std::filesystem::path>& checkpoint) {
  if (!checkpoint) return std::nullopt;
  const Manifest manifest = read_manifest(*checkpoint);
  if (std::optional<std::vector<int64_t>> budget = given_budget(manifest))
    return ContinuedRun{std::move(*budget)};
  return manifest.topology_hash.empty() ? std::optional(ContinuedRun()) : std::nullopt;
}

std::unique_ptr<LoadedModel> load_initial_weights(const Recipe& recipe, const ModelConfig& model,
                                                  const std::string& tokenizer_sha256) {
  if (recipe.weights.empty()) return nullptr;
  auto weights = load_model(recipe.weights);
  const std::string from = weights->checkpoint.string();
  if (weights->manifest.tokenizer_sha256 != tokenizer_sha256)
    fail_usage(
        "model.weights: {} was trained with another tokenizer (sha256 {}) than data.folder has (sha256 {}); "
        "name another data.folder, and fern prepare makes it with that tokenizer",
        from, weights->manifest.tokenizer_sha256.substr(0, 12), tokenizer_sha256.substr(0, 12));
  const bool adds_experts = model.experts.count > 0 && weights->model.config().experts.count == 0;
  ModelConfig there = model;
  if (adds_experts) there.experts = {};
  const std::string difference = model_difference(weights->manifest.model, to_json(there));
  if (!difference.empty())
    fail_usage("model.weights: {} is another model: {}; give this recipe its sizes", from, difference);
  if (adds_experts) expect_upcyclable(model);
  spdlog::info("weights from {} ({} of {} exist)", from, weights->manifest.nonzeros,
               weights->manifest.parameters);
  return adds_experts ? upcycled(std::move(*weights), model, recipe.seed) : std::move(weights);
}

std::unique_ptr<Method> set_recipe_patterns(Parameters& parameters, Parameters& whole, const Recipe& recipe,
                                            const LoadedModel* weights, const ContinuedRun* continued) {
  return with_places(recipe, [&] { return set_patterns(parameters, whole, recipe, weights, continued); });
}

void take_room_of_shares(Parameters& parameters, const Parameters& whole, const Recipe& recipe,
                         const ContinuedRun* continued) {
  const bool is_shared =
      std::ranges::any_of(parameters.runs(), [&](ParameterRun run) { return parameters.is_shared(run); });
  const bool are_given = !recipe.weights.empty() || (continued != nullptr && !continued->budget.empty());
  if (is_shared && (traits_of(recipe.sparsity.method).grows || are_given))
    set_room_of_shares(parameters, whole);
}

void set_recipe_values(Parameters& parameters, const Recipe& recipe, const LoadedModel* weights) {
  if (weights == nullptr)
    parameters.initialize(recipe.seed);
  else
    copy_weights(parameters, weights->model.parameters());
}

}  // namespace fern
