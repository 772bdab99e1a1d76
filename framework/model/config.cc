#include "framework/model/config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "framework/core/divisors.h"

namespace fern {

namespace {

void expect_between(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    fail_usage("model.{} = {}: expected a whole number from {} to {}", name, value, least, most);
}

void expect_positive(const char* name, double value) {
  if (!std::isfinite(value) || value <= 0)
    fail_usage("model.{} = {}: expected a positive finite number", name, value);
}

// Rotation pairs the two halves of a head, so a head's size is even.
void expect_heads_divide_hidden(const ModelConfig& config) {
  if (config.hidden % 2 != 0)
    fail_usage("model.hidden = {}: expected an even number, so that a head can be rotated: {} or {}",
               config.hidden, config.hidden - 1, config.hidden + 1);
  if (config.heads < 1 || config.hidden % config.heads != 0 || config.head_size() % 2 != 0)
    fail_usage("model.heads = {}: expected a divisor of model.hidden = {} that leaves an even head size: {}",
               config.heads, config.hidden, fmt::join(divisors(config.hidden / 2), ", "));
}

void expect_heads_fit(const ModelConfig& config, int64_t most_width) {
  expect_between("heads", config.heads, 1, most_width);
  expect_between("head_dim", config.head_dim, 0, most_width / config.heads);
  if (config.head_dim == 0) expect_heads_divide_hidden(config);
  if (config.head_dim % 2 != 0)
    fail_usage("model.head_dim = {}: expected an even number, so that a head can be rotated: {} or {}",
               config.head_dim, config.head_dim - 1, config.head_dim + 1);
  if (config.kv_heads < 1 || config.heads % config.kv_heads != 0)
    fail_usage("model.kv_heads = {}: expected a divisor of model.heads = {}: {}", config.kv_heads,
               config.heads, fmt::join(divisors(config.heads), ", "));
}

void expect_weight(const char* name, double value) {
  if (!std::isfinite(value) || value < 0)
    fail_usage("model.experts.{} = {}: expected a finite number, 0 or more", name, value);
}

void expect_experts_fit(const ModelConfig& config, int64_t most_width) {
  const ExpertConfig& experts = config.experts;
  expect_between("experts.count", experts.count, 0, 4096);
  if (experts.count == 0) return;
  expect_between("experts.active", experts.active, 1, experts.count);
  expect_between("experts.ffn", experts.ffn, 0, most_width);
  expect_between("experts.shared", experts.shared, 0, most_width / config.expert_ffn());
  expect_between("experts.every", experts.every, 1, config.layers);
  expect_weight("capacity_factor", experts.capacity_factor);
  expect_weight("balance_loss", experts.balance_loss);
  expect_weight("z_loss", experts.z_loss);
  expect_weight("bias_rate", experts.bias_rate);
}

}  // namespace

void validate(const ModelConfig& config) {
  constexpr int64_t kMostIds = std::numeric_limits<int32_t>::max();
  constexpr int64_t kMostWidth = 1 << 20;
  expect_between("vocabulary", config.vocabulary, 2, kMostIds);
  expect_between("layers", config.layers, 1, 10000);
  expect_between("hidden", config.hidden, 2, kMostWidth);
  expect_heads_fit(config, kMostWidth);
  expect_between("ffn", config.ffn, 1, kMostWidth);
  expect_between("context", config.context, 1, 1 << 24);
  expect_positive("rope_theta", config.rope_theta);
  expect_positive("norm_epsilon", config.norm_epsilon);
  expect_experts_fit(config, kMostWidth);
  if (config.dtype == DType::kI32)
    fail_usage("model.dtype = {}: expected f32 or bf16 (f64 for checks)", name_of(config.dtype));
}

void validate_head_shares(const ModelConfig& config, int64_t ranks) {
  if (config.kv_heads % ranks == 0) return;
  std::vector<int64_t> others = divisors(config.heads);
  std::erase_if(others, [&](int64_t kv_heads) { return kv_heads % ranks != 0; });
  const std::string instead =
      others.empty()
          ? fmt::format("model.heads (now {}) and model.kv_heads to multiples of {}", config.heads, ranks)
          : fmt::format("model.kv_heads to one of {} (model.heads = {})", fmt::join(others, ", "),
                        config.heads);
  fail_usage(
      "parallel.tensor = {}: each rank has whole heads, so it must divide model.kv_heads = {}: {}; or set {}",
      ranks, config.kv_heads, fmt::join(divisors(config.kv_heads), ", "), instead);
}

void validate_shares(const ModelConfig& config, int64_t ranks) {
  validate_head_shares(config, ranks);
  const int64_t least = std::min({config.vocabulary, config.ffn, config.expert_ffn()});
  if (ranks > least)
    fail_usage("parallel.tensor = {}: expected at most {}, the least of vocabulary, ffn and experts.ffn",
               ranks, least);
}

void validate_context(const ModelConfig& config, int64_t ranks) {
  if (ranks == 1) return;
  const int64_t chunks = 2 * ranks, below = config.context / chunks * chunks;
  if (config.context % chunks != 0)
    fail_usage(
        "parallel.context = {}: each rank has 2 of {} equal chunks of a sequence, and {} does not divide "
        "model.context = {}; set model.context = {}{}, or parallel.context to one of {}",
        ranks, chunks, chunks, config.context, below > 0 ? fmt::format("{} or ", below) : std::string(),
        below + chunks, fmt::join(divisors(config.context % 2 == 0 ? config.context / 2 : 1), ", "));
  if (config.experts.count > 0 && config.experts.capacity_factor > 0)
    fail_usage(
        "parallel.context = {}: what fits model.experts.capacity_factor = {} would depend on how ranks share "
        "a sequence; set model.experts.capacity_factor = 0 (no token is dropped), or parallel.context = 1",
        ranks, config.experts.capacity_factor);
}

void validate_expert_shares(const ModelConfig& config, int64_t ranks) {
  if (ranks > std::max<int64_t>(config.experts.count, 1))
    fail_usage(
        "parallel.expert = {}: expected 1 to {}, since each rank has one of model.experts.count = {} at "
        "least",
        ranks, std::max<int64_t>(config.experts.count, 1), config.experts.count);
}

}  // namespace fern
