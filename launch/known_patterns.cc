#include "launch/known_patterns.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "framework/checkpoint/topology_file.h"
#include "framework/model/config_json.h"
#include "framework/model/transformer.h"
#include "framework/sparsity/cells.h"
#include "framework/train/initial_patterns.h"
#include "framework/train/upcycled_model.h"
#include "launch/loaded_model.h"

namespace fern {

namespace {

// Experts that begin as copies of a feed-forward have its patterns; itself it is no more.
void share_with_experts(KnownPatterns& known, const Parameters& parameters) {
  std::set<std::string> shared;
  for (const Parameter& parameter : parameters.list()) {
    const std::string dense = dense_name(parameter.name);
    const auto found = known.by_name.find(dense);
    if (dense == parameter.name || found == known.by_name.end()) continue;
    known.by_name.emplace(parameter.name, found->second);
    shared.insert(dense);
  }
  for (const std::string& dense : shared) known.by_name.erase(dense);
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

// Whether a parameter is of a layer of the recipe's model that one with fewer layers leaves out.
bool is_cut_off(const std::string& name, const Parameters& parameters, const Recipe& recipe) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return false;
  const int64_t layer = std::stoll(name.substr(kLayers.size()));
  return layer < recipe.model.layers &&
         parameters.find(fmt::format("{}{}.input_layernorm.weight", kLayers, layer)) < 0;
}

void expect_keeps_patterns(const KnownPatterns& known, const Parameters& parameters, const Recipe& recipe) {
  const SparsityMethod method = recipe.sparsity.method;
  if (traits_of(method).prunes)
    fail_usage(
        "{}: it is sparse, and sparsity.method = \"{}\" prunes what is dense; expected static, set, rigl or "
        "srigl, or a checkpoint of fern densify",
        known.checkpoint.string(), name_of(method));
  for (const auto& [name, pattern] : known.by_name) {
    if (is_cut_off(name, parameters, recipe)) continue;
    if (parameters.find(name) < 0)
      fail_usage("{}: expected patterns of this model's weights, got one of {}; give this recipe its sizes",
                 known.checkpoint.string(), name);
    if (!is_sparse(recipe.sparsity, name))
      fail_usage(
          "{}: {} is sparse there and dense here; set sparsity.attention, feed_forward, embedding and head "
          "as there",
          known.checkpoint.string(), name);
  }
}

}  // namespace

KnownPatterns known_patterns(const std::string& source, const Parameters& parameters) {
  KnownPatterns known{.checkpoint = find_checkpoint(source), .by_name = {}};
  const Manifest manifest = read_manifest(known.checkpoint);
  Transformer model(model_config_from_json(manifest.model));
  model.parameters().set_patterns(read_patterns(known.checkpoint, manifest, model.parameters()));
  for (size_t i = 0; i < model.parameters().list().size(); ++i)
    if (model.parameters().list()[i].sparse)
      known.by_name[model.parameters().list()[i].name] = model.parameters().pattern_of(static_cast<int>(i));
  share_with_experts(known, parameters);
  return known;
}

std::vector<SparseRun> known_runs(const KnownPatterns& known, const Parameters& parameters,
                                  const Recipe& recipe, const Method& method) {
  expect_keeps_patterns(known, parameters, recipe);
  std::vector<Pattern> patterns;
  for (const SparseWeight& weight : method.setup().weights)
    patterns.push_back(pattern_for(known, recipe.sparsity, weight));
  return runs_of(parameters, method, std::move(patterns));
}

}  // namespace fern
