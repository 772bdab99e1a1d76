#include "launch/process_memory.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <omp.h>

#include "framework/core/arena.h"
#include "framework/ops/linear.h"

namespace fern {
namespace {

// The library takes and frees aligned room in every product, of which the heap can make holes.
TEST(ProcessMemory, TheHeapDoesNotGrowFromProductToProduct) {
  const ModelConfig model = {.vocabulary = 300,
                             .layers = 1,
                             .hidden = 64,
                             .heads = 1,
                             .kv_heads = 1,
                             .ffn = 64,
                             .context = 64,
                             .dtype = DType::kBF16};
  Recipe recipe;
  recipe.batch = {.sequences = 1, .micro_sequences = 1, .reduction_shards = 1};
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  EXPECT_GT(working_process_bytes(model, recipe), kLoop_bytes);

  Tensor dw_OI, dy_TO, x_TI;
  const Arena arena = sized_arena("test", [&](Arena& room) {
    dw_OI = room.allocate(DType::kF32, {256, 4096});
    dy_TO = room.allocate(DType::kBF16, {2048, 256});
    x_TI = room.allocate(DType::kBF16, {2048, 4096});
  });
  Stream stream;
  const size_t before = mallinfo2().arena;
  for (int i = 0; i < 3; ++i) linear_backward_weight(dw_OI, dy_TO, x_TI, stream);
  EXPECT_LT(mallinfo2().arena, before + 2'000'000);
  omp_set_num_threads(threads);
}

}  // namespace
}  // namespace fern
