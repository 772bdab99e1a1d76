#include <fmt/ranges.h>

#include <numeric>

#include "framework/core/divisors.h"
#include "framework/core/error.h"
#include "recipes/checks.h"

namespace fern {

namespace {

// What stages of a pipeline cannot do yet.
void stages(const Recipe& recipe) {
  const int64_t stages = recipe.mesh.pipeline;
  if (stages == 1) return;
  if (stages > recipe.model.layers)
    fail_usage("{}: parallel.pipeline = {}: expected 1 to {} (model.layers): each stage has a layer",
               recipe.where("parallel.pipeline"), stages, recipe.model.layers);
  const SparsityConfig& sparsity = recipe.sparsity;
  if (sparsity.method == SparsityMethod::kDense) return;
  if (sparsity.global)
    fail_usage(
        "{}: parallel.pipeline = {}: sparsity.global = true chooses among the weights of all layers, and a "
        "stage has those of its own; expected parallel.pipeline = 1, or sparsity.global = false",
        recipe.where("parallel.pipeline"), stages);
  if (sparsity.embedding && recipe.model.tie_embeddings)
    fail_usage(
        "{}: parallel.pipeline = {}: sparsity.embedding = true with model.tie_embeddings = true is not "
        "split into stages; expected parallel.pipeline = 1, sparsity.embedding = false, or untied "
        "embeddings",
        recipe.where("parallel.pipeline"), stages);
}

// Gradients of a shard are complete before those of the next begin.
void virtual_stages(const Recipe& recipe) {
  const BatchConfig& b = recipe.batch;
  const int64_t parts = recipe.mesh.virtual_stages, stages = recipe.mesh.pipeline;
  const int64_t micro_batches = b.sequences / b.micro_sequences;
  if (parts == 1 || micro_batches / b.reduction_shards % stages == 0) return;
  std::vector<int64_t> shards = divisors(micro_batches);
  std::erase_if(shards, [&](int64_t s) { return micro_batches / s % stages != 0; });
  fail_usage(
      "{}: parallel.virtual_stages = {}: a reduction shard of {} micro-batches (batch.sequences / "
      "batch.micro_sequences / batch.reduction_shards) is no multiple of parallel.pipeline = {}; expected "
      "1, or {} (a different value is a different order of sums)",
      recipe.where("parallel.virtual_stages"), parts, micro_batches / b.reduction_shards, stages,
      shards.empty() ? fmt::format("batch.sequences = {}", b.sequences * stages)
                     : fmt::format("batch.reduction_shards = {}", fmt::join(shards, ", ")));
}

// Blocks and groups of sparse weights that ranks which share matrices would cut: their heads and their
// inner sizes are whole numbers of these. An embedding is looked at when its vocabulary is known.
void cuts(const Recipe& recipe) {
  const SparsityConfig& s = recipe.sparsity;
  const ModelConfig& m = recipe.model;
  const bool has_blocks = s.block_shape() != BlockShape{};
  if (!has_blocks && s.pattern != PatternKind::kNm) return;
  int64_t common = 0;
  const auto share = [&](int64_t size) {
    for (int64_t rank = 1; rank <= recipe.mesh.tensor; ++rank)
      common = std::gcd(common, size * rank / recipe.mesh.tensor);
  };
  // Groups lie in rows, which only the output projections have cut.
  if (s.attention) share((has_blocks ? m.kv_heads : m.heads) * m.head_size());
  if (s.feed_forward && m.expert_layers() < m.layers) share(m.ffn);
  if (s.feed_forward && m.expert_layers() > 0) share(m.expert_ffn());
  if (s.feed_forward && m.experts.shared > 0) share(m.experts.shared * m.expert_ffn());
  const int64_t unit = has_blocks ? s.block : s.m;
  if (common % unit == 0) return;
  const std::string_view key = has_blocks ? "sparsity.block" : "sparsity.m";
  fail_usage(
      "{}: {} = {} does not divide what each of parallel.tensor = {} ranks has of every matrix; one "
      "of {} would",
      recipe.where(key), key, unit, recipe.mesh.tensor, fmt::join(divisors(common), ", "));
}

// What ranks that share matrices cannot do.
void shares(const Recipe& recipe) {
  const int64_t ranks = recipe.mesh.tensor;
  if (ranks == 1) return;
  try {
    validate_head_shares(recipe.model, ranks);
  } catch (const Error& error) {
    fail_usage("{}: {}", recipe.where("parallel.tensor"), error.what());
  }
  if (recipe.sparsity.method == SparsityMethod::kDense) return;
  if (recipe.sparsity.global)
    fail_usage(
        "{}: parallel.tensor = {}: sparsity.global = true chooses among the weights of all matrices, which "
        "no rank has; expected parallel.tensor = 1, or sparsity.global = false",
        recipe.where("parallel.tensor"), ranks);
  if (recipe.mesh.zero == 3)
    fail_usage("{}: parallel.tensor = {} with sparse weights: expected parallel.zero = 0, 1 or 2, got 3",
               recipe.where("parallel.tensor"), ranks);
  cuts(recipe);
}

// What ranks that share sequences cannot do.
void sequences(const Recipe& recipe) {
  try {
    validate_context(recipe.model, recipe.mesh.context);
  } catch (const Error& error) {
    fail_usage("{}: {}", recipe.where("parallel.context"), error.what());
  }
}

// What ranks that share experts cannot do.
void expert_shares(const Recipe& recipe) {
  const int64_t ranks = recipe.mesh.expert, experts = recipe.model.experts.count;
  if (ranks == 1) return;
  if (experts == 0)
    fail_usage(
        "{}: parallel.expert = {}: expected 1, since the model has no experts, or model.experts.count >= "
        "{}",
        recipe.where("parallel.expert"), ranks, ranks);
  if (ranks > experts)
    fail_usage("{}: parallel.expert = {}: expected 1 to {} (model.experts.count): each rank has an expert",
               recipe.where("parallel.expert"), ranks, experts);
  if (recipe.sparsity.method != SparsityMethod::kDense && recipe.sparsity.global)
    fail_usage(
        "{}: parallel.expert = {}: sparsity.global = true chooses among the weights of all experts, and a "
        "rank has some; expected parallel.expert = 1, or sparsity.global = false",
        recipe.where("parallel.expert"), ranks);
}

// What cannot be done with weights of which each rank keeps a slice.
void zero(const Recipe& recipe) {
  if (recipe.mesh.zero < 3) return;
  const SparsityMethod method = recipe.sparsity.method;
  if (method != SparsityMethod::kDense && method != SparsityMethod::kStatic)
    fail_usage(
        "{}: parallel.zero = 3: sparsity.method = \"{}\" looks at all weights when it changes patterns; "
        "expected at most 2, or sparsity.method = \"static\" or \"dense\"",
        recipe.where("parallel.zero"), name_of(method));
}

}  // namespace

void check_mesh(const Recipe& recipe) {
  stages(recipe);
  virtual_stages(recipe);
  shares(recipe);
  sequences(recipe);
  expert_shares(recipe);
  zero(recipe);
}

}  // namespace fern
