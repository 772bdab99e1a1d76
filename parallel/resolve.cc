#include <fmt/ranges.h>

#include <algorithm>

#include "framework/core/divisors.h"
#include "framework/core/error.h"
#include "parallel/mesh.h"

namespace fern {

namespace {

void expect_zero_is_known(const Mesh& mesh) {
  if (mesh.zero < 0 || mesh.zero > 3)
    fail_usage(
        "parallel.zero = {}: expected 0 (every rank keeps everything), or what each keeps only its slice of: "
        "1 (the optimizer's state), 2 (and gradients) or 3 (and weights)",
        mesh.zero);
}

void expect_stages_fit(const Mesh& mesh, int ranks, int64_t layers) {
  if (mesh.pipeline < 1 || mesh.pipeline > layers)
    fail_usage(
        "parallel.pipeline = {}: expected 1 to {}, since each stage has at least one of model.layers = {}",
        mesh.pipeline, layers, layers);
  if (ranks % mesh.pipeline != 0)
    fail_usage(
        "parallel.pipeline = {} does not divide the {} ranks; start {} (mpirun -n {}), or set one of {}",
        mesh.pipeline, ranks, (ranks / mesh.pipeline + 1) * mesh.pipeline,
        (ranks / mesh.pipeline + 1) * mesh.pipeline, fmt::join(divisors(ranks), ", "));
}

// REQUIRES: the stages do.
void expect_parts_fit(const Mesh& mesh, int64_t layers) {
  if (mesh.virtual_stages == 1) return;
  if (mesh.pipeline == 1)
    fail_usage(
        "parallel.virtual_stages = {}: expected 1 with parallel.pipeline = 1, since other stages have the "
        "layers between a stage's parts; or parallel.pipeline = 2 or more",
        mesh.virtual_stages);
  if (mesh.virtual_stages < 1 || mesh.virtual_stages * mesh.pipeline > layers)
    fail_usage(
        "parallel.virtual_stages = {}: expected 1 to {}, since each of parallel.pipeline = {} times as many "
        "parts has at least one of model.layers = {}",
        mesh.virtual_stages, layers / mesh.pipeline, mesh.pipeline, layers);
}

// REQUIRES: the stages do.
void expect_shares_fit(const Mesh& mesh, int64_t ranks) {
  const int64_t of_stage = ranks / mesh.pipeline;
  if (mesh.tensor >= 1 && of_stage % mesh.tensor == 0) return;
  const int64_t would = (of_stage / std::max<int64_t>(mesh.tensor, 1) + 1) * mesh.tensor * mesh.pipeline;
  fail_usage("parallel.tensor = {} does not divide the {} ranks{}; start {} (mpirun -n {}), or set one of {}",
             mesh.tensor, of_stage, mesh.pipeline > 1 ? " of each stage" : "", would, would,
             fmt::join(divisors(of_stage), ", "));
}

void expect_sequences_fit(const Mesh& mesh, int ranks) {
  const int64_t others = mesh.pipeline * mesh.tensor, left = ranks / others;
  if (mesh.context < 1 || left % mesh.context != 0) {
    const int64_t shares = std::max<int64_t>(mesh.context, 1), more = (left / shares + 1) * shares * others;
    fail_usage(
        "parallel.context = {} does not divide the {} ranks{}; start {} (mpirun -n {}), or set one of {}",
        mesh.context, left, others > 1 ? " of each stage and share" : "", more, more,
        fmt::join(divisors(left), ", "));
  }
}

void expect_experts_fit(const Mesh& mesh) {
  if (mesh.expert < 1 || mesh.data % mesh.expert != 0)
    fail_usage(
        "parallel.expert = {} does not divide parallel.data = {}, whose ranks share the experts; one of {} "
        "would",
        mesh.expert, mesh.data, fmt::join(divisors(mesh.data), ", "));
}

}  // namespace

Mesh resolve(Mesh mesh, int ranks, int64_t reduction_shards, int64_t layers) {
  expect_zero_is_known(mesh);
  expect_stages_fit(mesh, ranks, layers);
  expect_parts_fit(mesh, layers);
  expect_shares_fit(mesh, ranks);
  expect_sequences_fit(mesh, ranks);
  const int64_t most = ranks / mesh.pipeline / mesh.tensor / mesh.context;
  if (mesh.data == 0) mesh.data = most;
  if (mesh.data != most)
    fail_usage(
        "parallel.data = {} x parallel.pipeline = {} x parallel.context = {} x parallel.tensor = {}, but "
        "there are {} ranks; start as many (mpirun -n {}), or set parallel.data = {} or 0 (as many as there "
        "are)",
        mesh.data, mesh.pipeline, mesh.context, mesh.tensor, ranks, mesh.ranks(), most);
  if (reduction_shards < 1) fail_usage("batch.reduction_shards = {}: expected at least 1", reduction_shards);
  if (reduction_shards % mesh.data != 0)
    fail_usage(
        "batch.reduction_shards = {} cannot be shared evenly by {} ranks{}; use one of {} ranks, or set "
        "reduction_shards to a multiple of {} (a different value is a different order of sums)",
        reduction_shards, mesh.data, mesh.pipeline > 1 ? " of each stage" : "",
        fmt::join(divisors(reduction_shards), ", "), mesh.data);
  expect_experts_fit(mesh);
  return mesh;
}

int most_ranks(const Mesh& mesh, int limit, int64_t reduction_shards) {
  const int64_t others = mesh.pipeline * mesh.tensor * mesh.context;
  if (std::max<int64_t>(mesh.data, 1) * others > limit)
    fail_usage(
        "parallel.data = {} x parallel.pipeline = {} x parallel.context = {} x parallel.tensor = {}, but "
        "only {} ranks are left; set parallel.data = 0 (as many as there are), and fewer stages or shares",
        mesh.data, mesh.pipeline, mesh.context, mesh.tensor, limit);
  if (mesh.data > 0) return static_cast<int>(mesh.ranks());
  int64_t data = limit / others;
  while (data > 0 && (reduction_shards % data != 0 || data % mesh.expert != 0)) --data;
  if (data == 0)
    fail_usage(
        "parallel.expert = {}: no number of data ranks up to {} is a multiple of it and divides "
        "batch.reduction_shards = {}",
        mesh.expert, limit / others, reduction_shards);
  return static_cast<int>(data * others);
}

}  // namespace fern
