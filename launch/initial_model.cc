#include "launch/initial_model.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <span>

#include "framework/checkpoint/topology_file.h"
#include "framework/model/config_json.h"
#include "framework/sparsity/cells.h"
#include "framework/sparsity/pattern_making.h"
#include "framework/train/initial_patterns.h"
#include "framework/train/pruned_model.h"
#include "framework/train/trainer.h"

namespace fern {

namespace {

// Patterns of a checkpoint, by the name of the parameter; none of a dense one.
struct KnownPatterns {
  std::filesystem::path checkpoint;
  std::map<std::string, Pattern> by_name;
};

KnownPatterns known_patterns(const std::string& source) {
  KnownPatterns known{.checkpoint = find_checkpoint(source), .by_name = {}};
  const Manifest manifest = read_manifest(known.checkpoint);
  Transformer model(model_config_from_json(manifest.model));
  model.parameters().set_patterns(read_patterns(known.checkpoint, manifest, model.parameters()));
  for (size_t i = 0; i < model.parameters().list().size(); ++i)
    if (model.parameters().list()[i].sparse)
      known.by_name[model.parameters().list()[i].name] = model.parameters().pattern_of(static_cast<int>(i));
  return known;
}

// Where a pattern's rule is kept by every change, it must hold at first; rows that srigl has given up aside.
bool keeps_rule(const SparsityConfig& config, const SparseWeight& weight, const Pattern& pattern) {
  const Cells cells = cells_of(config, weight);
  if (cells.whole() || config.method == SparsityMethod::kStatic) return true;
  std::vector<int64_t> counts(static_cast<size_t>(cells.count));
  for (int64_t row = 0; row < pattern.rows(); ++row)
    for (const uint16_t column : pattern.row(row))
      ++counts[static_cast<size_t>((row * pattern.columns() + column) / cells.positions)];
  if (config.method == SparsityMethod::kSrigl) std::erase(counts, 0);
  if (config.pattern == PatternKind::kNm && counts.front() != config.n) return false;
  return std::ranges::adjacent_find(counts, std::not_equal_to<>()) == counts.end();
}

const Pattern& pattern_for(const KnownPatterns& known, const SparsityConfig& config,
                           const SparseWeight& weight) {
  const std::string from = known.checkpoint.string();
  const auto found = known.by_name.find(weight.name);
  if (found == known.by_name.end())
    fail_usage("{}: expected patterns of all weights that [sparsity] names, got none of {}", from,
               weight.name);
  const Pattern& pattern = found->second;
  const BlockShape block = pattern.block();
  if (pattern.rows() != weight.rows || pattern.columns() != weight.columns)
    fail_usage("{}: {} is {} x {} there and {} x {} here; give this recipe the sizes of that model", from,
               weight.name, pattern.rows(), pattern.columns(), weight.rows, weight.columns);
  if (block != weight.block)
    fail_usage(
        "{}: {} has blocks of {} x {} there and of {} x {} here; set sparsity.pattern and sparsity.block as "
        "there",
        from, weight.name, block.rows, block.columns, weight.block.rows, weight.block.columns);
  if (!keeps_rule(config, weight, pattern))
    fail_usage(
        "{}: {} does not keep the rule of sparsity.pattern = \"{}\", which sparsity.method = \"{}\" needs",
        from, weight.name, name_of(config.pattern), name_of(config.method));
  return pattern;
}

void expect_keeps_patterns(const KnownPatterns& known, const Parameters& parameters, const Recipe& recipe) {
  const SparsityMethod method = recipe.sparsity.method;
  if (method == SparsityMethod::kGradual || method == SparsityMethod::kMagnitude ||
      method == SparsityMethod::kRandom)
    fail_usage(
        "{}: it is sparse, and sparsity.method = \"{}\" prunes what is dense; expected static, set, rigl or "
        "srigl, or a checkpoint of fern densify",
        known.checkpoint.string(), name_of(method));
  for (const auto& [name, pattern] : known.by_name)
    if (parameters.find(name) < 0)
      fail_usage("{}: expected patterns of this model's weights, got one of {}; give this recipe its sizes",
                 known.checkpoint.string(), name);
    else if (!is_sparse(recipe.sparsity, name))
      fail_usage(
          "{}: {} is sparse there and dense here; set sparsity.attention, feed_forward, embedding and head "
          "as there",
          known.checkpoint.string(), name);
}

std::vector<SparseRun> known_runs(const KnownPatterns& known, const Parameters& parameters,
                                  const Recipe& recipe, const Method& method) {
  expect_keeps_patterns(known, parameters, recipe);
  std::vector<Pattern> patterns;
  for (const SparseWeight& weight : method.setup().weights)
    patterns.push_back(pattern_for(known, recipe.sparsity, weight));
  return runs_of(parameters, method, std::move(patterns));
}

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
  const KnownPatterns known = known_patterns(source);
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
  const std::string difference = model_difference(weights->manifest.model, to_json(model));
  if (!difference.empty())
    fail_usage("model.weights: {} is another model: {}; give this recipe its sizes", from, difference);
  spdlog::info("weights from {} ({} of {} exist)", from, weights->manifest.nonzeros,
               weights->manifest.parameters);
  return weights;
}

std::unique_ptr<Method> set_recipe_patterns(Parameters& parameters, const Recipe& recipe,
                                            const LoadedModel* weights, const ContinuedRun* continued) {
  std::unique_ptr<Method> method = make_method(recipe.sparsity, parameters, recipe.train.steps, recipe.seed);
  if (!method) return nullptr;
  std::vector<SparseRun> given;
  if (continued == nullptr)
    given = given_runs(parameters, recipe, *method, weights);
  else if (!continued->budget.empty())
    given = sized_runs(parameters, *method, continued->budget);
  if (given.empty()) {
    set_initial_patterns(parameters, *method);
    return method;
  }
  set_first_patterns(parameters, *method, std::move(given));
  MethodSetup setup = method->setup();
  setup.budget = block_counts(parameters, *method);
  return make_method(std::move(setup));
}

void set_recipe_values(Parameters& parameters, const Recipe& recipe, const LoadedModel* weights) {
  if (weights == nullptr)
    parameters.initialize(recipe.seed);
  else
    copy_weights(parameters, weights->model.parameters());
}

}  // namespace fern
