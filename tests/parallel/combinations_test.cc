// Every mesh of the ranks there are, for dense and sparse weights and for experts, held to one process: to
// the bit, and where ranks share matrices, sequences or experts to rounding; of these, those that share as
// many have the same bits.
#include <fmt/format.h>

#include <map>
#include <tuple>

#include "tests/parallel/run_cases.h"

namespace fern {
namespace {

constexpr int64_t kFewSteps = 5;
constexpr int64_t kLayers = 8, kHeads = 8;  // so that eight ranks can be on any axis
constexpr int64_t kMostStages = 3;          // of ZeRO

struct Kind {
  std::string name;
  Variant variant;
};

SparsityConfig sparse(SparsityMethod method) {
  SparsityConfig config;
  config.method = method;
  config.sparsity = 0.75;
  config.interval = 2;
  config.scoring_steps = 2;
  return config;
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"dense", {.tied = true}},
      {"experts",
       {.tied = false, .experts = {.count = 4, .active = 2, .ffn = 32, .every = 2, .balance_loss = 0.01}}},
      {"sparse", {.tied = false, .sparsity = sparse(SparsityMethod::kRigl)}},
  };
  return all;
}

// With the patterns of experts, which ranks that share them change each by itself.
std::vector<Kind> kinds_of_shares() {
  std::vector<Kind> all = kinds();
  all.push_back({"sparse experts", all[1].variant});
  all.back().variant.sparsity = sparse(SparsityMethod::kRigl);
  return all;
}

Variant sized(Variant variant) {
  variant.shards = 4;
  variant.layers = kLayers;
  variant.heads = variant.kv_heads = kHeads;
  return smooth(variant);
}

// On the first rank.
const RunResult& reference(const Kind& kind) {
  static std::map<std::string, RunResult> known;
  const auto [at, is_new] = known.try_emplace(kind.name);
  if (is_new) at->second = run_alone(sized(kind.variant), kFewSteps);
  return at->second;
}

void expect_losses_of_one_process(const Kind& kind, const RunResult& run) {
  const std::vector<double>& expected = reference(kind).losses;
  ASSERT_EQ(run.losses.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(run.losses[i], expected[i], kRounding * expected[i]) << "step " << i + 1;
}

void expect_same_bits(const RunResult& run, const RunResult& expected) {
  EXPECT_EQ(run.losses, expected.losses);
  EXPECT_EQ(run.norms, expected.norms);
  EXPECT_EQ(run.weights, expected.weights);
  EXPECT_EQ(run.topology, expected.topology);
}

void expect_follows_one_process(const Kind& kind, const Variant& variant) {
  const RunResult run = run_on_all(variant, kFewSteps);
  if (world().rank() != 0) return;
  if (variant.tensor > 1)
    expect_losses_of_one_process(kind, run);
  else
    expect_same_bits(run, reference(kind));
}

TEST(Combinations, EveryMeshFollowsOneProcess) {
  const int64_t ranks = world().size();
  int64_t meshes = 0;
  for (const Kind& kind : kinds())
    for (int64_t tensor = 1; tensor <= ranks; tensor *= 2)
      for (int64_t pipeline = 1; tensor * pipeline <= ranks; pipeline *= 2)
        for (int64_t zero = 0; zero <= kMostStages; ++zero) {
          Variant variant = sized(kind.variant);
          variant.tensor = tensor;
          variant.pipeline = pipeline;
          variant.zero = zero;
          const int64_t data = ranks / tensor / pipeline;
          const bool is_sparse = variant.sparsity.method != SparsityMethod::kDense;
          if (variant.shards % data != 0 || (zero > 0 && data == 1)) continue;
          if (zero == 3 && is_sparse) continue;  // refused by recipes/check.h
          SCOPED_TRACE(fmt::format("{}: {} data x {} tensor x {} pipeline, zero {}", kind.name, data, tensor,
                                   pipeline, zero));
          expect_follows_one_process(kind, variant);
          ++meshes;
        }
  EXPECT_GE(meshes, 3);
}

// Sizes of the axes whose ranks share sequences, experts and matrices: for each of them one result.
using Shares = std::tuple<int64_t, int64_t, int64_t>;

void expect_follows_runs_that_share_as_many(std::map<Shares, RunResult>& known, const Kind& kind,
                                            const Variant& variant) {
  const RunResult run = run_on_all(variant, kFewSteps);
  if (world().rank() != 0) return;
  const auto [at, is_first] = known.try_emplace({variant.context, variant.expert, variant.tensor}, run);
  if (is_first)
    expect_losses_of_one_process(kind, run);
  else
    expect_same_bits(run, at->second);
}

// Whether there is such a mesh of these ranks.
bool is_mesh(const Kind& kind, const Variant& variant, int64_t data) {
  const bool is_sparse = variant.sparsity.method != SparsityMethod::kDense;
  if (variant.context * variant.expert == 1 || data == 0 || variant.shards % data != 0) return false;
  if (data % variant.expert != 0 || (variant.expert > 1 && kind.variant.experts.count == 0)) return false;
  if (variant.zero == 3 && is_sparse) return false;  // refused by recipes/check.h
  return variant.zero == 0 || data * variant.context > 1;
}

TEST(Combinations, MeshesThatShareSequencesAndExpertsFollowOneProcessAndEachOther) {
  const int64_t ranks = world().size();
  int64_t meshes = 0;
  for (const Kind& kind : kinds_of_shares()) {
    std::map<Shares, RunResult> known;
    for (int64_t context = 1; context <= ranks; context *= 2)
      for (int64_t expert = 1; context * expert <= ranks; expert *= 2)
        for (int64_t tensor = 1; context * expert * tensor <= ranks; tensor *= 2)
          for (int64_t pipeline = 1; pipeline <= ranks; pipeline *= 2)
            for (int64_t zero = 0; zero <= kMostStages; ++zero) {
              Variant variant = sized(kind.variant);
              variant.context = context;
              variant.expert = expert;
              variant.tensor = tensor;
              variant.pipeline = pipeline;
              variant.zero = zero;
              const int64_t data = ranks / context / tensor / pipeline;
              if (!is_mesh(kind, variant, data)) continue;
              SCOPED_TRACE(fmt::format(
                  "{}: {} data, {} of which share experts, x {} context x {} tensor x {} pipeline, zero {}",
                  kind.name, data, expert, context, tensor, pipeline, zero));
              expect_follows_runs_that_share_as_many(known, kind, variant);
              ++meshes;
            }
  }
  EXPECT_TRUE(ranks == 1 || meshes >= 9);
}

}  // namespace
}  // namespace fern
