#include "framework/sparsity/sparsity_config.h"

#include <algorithm>
#include <cmath>

#include "framework/core/error.h"

namespace fern {

namespace {

void check_sparsity(std::string_view key, double sparsity) {
  if (!(sparsity >= 0 && sparsity < 1))
    fail_usage(
        "sparsity.{} = {}: expected the share of weights that do not exist, from 0 to below 1; 0.9 keeps one "
        "in ten",
        key, sparsity);
}

void check_share(std::string_view key, double share, double least) {
  if (!(share >= least && share <= 1))
    fail_usage("sparsity.{} = {}: expected a share of the run from {} to 1", key, share, least);
}

void check_layers(const SparsityConfig& config) {
  expect(config.layer_names.size() == config.layer_sparsities.size(),
         "[sparsity] expected a sparsity for each of {} names of layers, got {}", config.layer_names.size(),
         config.layer_sparsities.size());
  for (size_t i = 0; i < config.layer_names.size(); ++i)
    check_sparsity("layers: " + config.layer_names[i], config.layer_sparsities[i]);
  if (config.global && !config.layer_names.empty())
    fail_usage(
        "sparsity.global = true: expected no sparsity.layers beside it, since it moves weights between "
        "layers; leave one of the two out");
}

void check_n_of_m(const SparsityConfig& config) {
  if (config.m < 1 || config.m > kMostBlockColumns)
    fail_usage("sparsity.m = {}: expected 1 to {}; 4 is what hardware has", config.m, kMostBlockColumns);
  if (config.n < 1 || config.n > config.m)
    fail_usage("sparsity.n = {}: expected 1 to {} of every sparsity.m = {} weights", config.n, config.m,
               config.m);
  if (config.sparsity != 0 && std::abs(config.sparsity - config.target_sparsity()) > 1e-6)
    fail_usage("sparsity.sparsity = {}: expected {}, which {} of every {} weights means; or leave it out",
               config.sparsity, config.target_sparsity(), config.n, config.m);
  if (config.distribution != Distribution::kUniform)
    fail_usage(
        "sparsity.distribution = \"{}\": expected \"uniform\" with sparsity.pattern = \"n_of_m\", since n "
        "and m "
        "fix every weight's density",
        kDistributionNames[static_cast<size_t>(config.distribution)]);
  if (!config.layer_names.empty())
    fail_usage(
        "sparsity.layers: expected none with sparsity.pattern = \"n_of_m\", since n and m fix every weight's "
        "density");
}

void check_pattern(const SparsityConfig& config) {
  const bool even = config.pattern == PatternKind::kFanIn || config.pattern == PatternKind::kNm;
  if (config.block < 1) fail_usage("sparsity.block = {}: expected 1 or more", config.block);
  if (config.pattern == PatternKind::kNm) check_n_of_m(config);
  if (config.method == SparsityMethod::kSrigl && config.pattern != PatternKind::kFanIn)
    fail_usage("sparsity.pattern = \"{}\": expected \"fan_in\" with sparsity.method = \"srigl\"",
               name_of(config.pattern));
  if (config.pattern == PatternKind::kButterfly && config.method != SparsityMethod::kStatic)
    fail_usage(
        "sparsity.method = \"{}\": expected \"static\" with sparsity.pattern = \"butterfly\", which is "
        "fixed; "
        "\"block\" may change",
        name_of(config.method));
  if (even && config.global)
    fail_usage(
        "sparsity.global = true: expected false with sparsity.pattern = \"{}\", whose rows keep their counts",
        name_of(config.pattern));
}

// Steps between two updates must fit into the part of the run that has updates; after step `least_left` from
// the end there is none.
void check_interval(const SparsityConfig& config, int64_t train_steps, double begin, double end,
                    std::string_view until, int64_t least_left = 0) {
  if (config.interval < 1) fail_usage("sparsity.interval = {}: expected 1 step or more", config.interval);
  const auto interval = static_cast<double>(config.interval), steps = static_cast<double>(train_steps);
  const double longest = std::floor(std::min(end * steps, static_cast<double>(train_steps - least_left)));
  const double last = std::floor(longest / interval) * interval;
  if (last >= interval && last >= begin * steps) return;
  const bool fits = longest >= 1 && longest >= begin * steps;
  fail_usage(
      "sparsity.interval = {}: expected an update within steps {} to {} (train.steps = {}, sparsity.{} = "
      "{}), got none; {} does",
      config.interval, begin * steps, end * steps, train_steps, until, end,
      fits ? fmt::format("an interval of {}", longest)
           : fmt::format("no interval, but a larger train.steps or sparsity.{}", until));
}

void check_drop_and_grow(const SparsityConfig& config, int64_t train_steps) {
  if (!(config.drop_fraction > 0 && config.drop_fraction < 1))
    fail_usage(
        "sparsity.drop_fraction = {}: expected a share of existing weights above 0 and below 1; 0.3 suits "
        "most runs, and sparsity.method = \"static\" drops none",
        config.drop_fraction);
  check_share("stop", config.stop, 0);
  check_interval(config, train_steps, 0, config.stop, "stop", /*least_left=*/1);
  if (traits_of(config.method).scores && (config.scoring_steps < 1 || config.scoring_steps > config.interval))
    fail_usage("sparsity.scoring_steps = {}: expected 1 to {}, the steps between updates (sparsity.interval)",
               config.scoring_steps, config.interval);
  if (!(config.ablation >= 0 && config.ablation < 1))
    fail_usage(
        "sparsity.ablation = {}: expected a share of a row's weights from 0, which keeps every row, to "
        "below 1",
        config.ablation);
}

void check_gradual(const SparsityConfig& config, int64_t train_steps) {
  check_sparsity("initial_sparsity", config.initial_sparsity);
  if (config.initial_sparsity > config.target_sparsity())
    fail_usage("sparsity.initial_sparsity = {}: expected at most the final sparsity, {}",
               config.initial_sparsity, config.target_sparsity());
  if (!(config.begin < config.end))
    fail_usage("sparsity.begin = {}: expected a share of the run below sparsity.end = {}", config.begin,
               config.end);
  check_interval(config, train_steps, config.begin, config.end, "end");
}

}  // namespace

BlockShape SparsityConfig::block_shape() const {
  const bool blocks = pattern == PatternKind::kBlock || pattern == PatternKind::kButterfly;
  return blocks ? BlockShape{block, block} : BlockShape{};
}

double SparsityConfig::target_sparsity() const {
  return pattern == PatternKind::kNm ? 1 - static_cast<double>(n) / static_cast<double>(m) : sparsity;
}

bool has_part(std::string_view name, std::string_view part) {
  for (size_t at = name.find(part); at != std::string_view::npos; at = name.find(part, at + 1)) {
    const size_t end = at + part.size();
    if ((at == 0 || name[at - 1] == '.') && (end == name.size() || name[end] == '.')) return true;
  }
  return false;
}

bool is_sparse(const SparsityConfig& config, std::string_view name) {
  if (config.method == SparsityMethod::kDense) return false;
  return (config.attention && has_part(name, "self_attn")) ||
         (config.feed_forward &&
          (has_part(name, "mlp") || has_part(name, "experts") || has_part(name, "shared_expert"))) ||
         (config.embedding && has_part(name, "embed_tokens")) || (config.head && has_part(name, "lm_head"));
}

void validate(const SparsityConfig& config, int64_t train_steps) {
  if (config.method == SparsityMethod::kDense) return;
  check_sparsity("sparsity", config.sparsity);
  check_layers(config);
  check_pattern(config);
  if (!(config.attention || config.feed_forward || config.embedding || config.head))
    fail_usage(
        "sparsity.method = \"{}\": expected one of sparsity.attention, feed_forward, embedding and head to "
        "be "
        "true, got none; \"dense\" makes nothing sparse",
        name_of(config.method));
  if (train_steps == 0) return;
  check_share("begin", config.begin, 0);
  check_share("end", config.end, 0);
  if (traits_of(config.method).grows) check_drop_and_grow(config, train_steps);
  if (config.method == SparsityMethod::kGradual) check_gradual(config, train_steps);
}

}  // namespace fern
