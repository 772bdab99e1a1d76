#include "launch/process_memory.h"

#include <malloc.h>

#include <algorithm>

#include "launch/cut_model.h"
#include "launch/machine.h"

namespace fern {

namespace {

// Scratch for a product does not grow beyond that of a product of this many rows, columns and depth.
constexpr int64_t kBlock = 512;
// From this size on, what is freed goes back to the system at once. The library takes and frees aligned room
// of megabytes in every product, and the heap would grow by the holes between such rooms, step after step.
constexpr int kLarge_bytes = 2 << 20;
// Micro-batches after which the allocator has found a place for all that is taken and freed in them.
constexpr int kRounds = 12;

// A large model's rows have weights at densities where so small a one's would have none.
constexpr double kMostSparse = 0.99;

ModelConfig cut(ModelConfig model) {
  const int64_t head_size = model.head_size();
  model.layers = 1;
  model.heads = std::clamp<int64_t>(kBlock / head_size, 1, model.heads);
  model.kv_heads = 1;
  model.hidden = model.heads * head_size;
  model.head_dim = 0;
  model.ffn = std::min(model.ffn, kBlock);
  model.experts.every = 1;
  model.experts.ffn = std::min(model.experts.ffn, kBlock);
  model.experts.shared = std::min<int64_t>(model.experts.shared, 1);
  model.vocabulary = std::min(model.vocabulary, kBlock);
  model.context = std::min(model.context, kBlock);
  return model;
}

Recipe cut(const Recipe& recipe, const ModelConfig& small) {
  Recipe work = recipe;
  work.batch.micro_sequences = std::clamp<int64_t>(kBlock / small.context, 1, recipe.batch.micro_sequences);
  work.batch.reduction_shards = 1;
  if (recipe.sparsity.block_shape() != BlockShape{} || work.sparsity.pattern == PatternKind::kNm) {
    // Blocks that divide the model need not divide so small a one.
    work.sparsity.sparsity = recipe.sparsity.target_sparsity();
    work.sparsity.pattern = PatternKind::kUnstructured;
  }
  work.sparsity.sparsity = std::min(work.sparsity.sparsity, kMostSparse);
  work.weights.clear();  // of a model with other sizes
  work.topology.clear();
  return work;
}

}  // namespace

size_t working_process_bytes(const ModelConfig& model, const Recipe& recipe) {
  mallopt(M_MMAP_THRESHOLD, kLarge_bytes);
  malloc_trim(0);
  const ModelConfig small = cut(model);
  const Recipe work = cut(recipe, small);
  {
    CutModel probe(small, work, Mesh{});
    const MicroBatch batch = full_micro_batch(work.batch.micro_sequences, small.context, small.vocabulary);
    // In turn, so that each thread does all kinds of work: a region inside a region has one thread.
#pragma omp parallel
#pragma omp critical
    for (int i = 0; i < kRounds; ++i) probe.forward_backward(batch);
  }
  return resident_bytes() + kLoop_bytes;
}

}  // namespace fern
