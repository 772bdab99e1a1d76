// A training step takes no memory from the heap: all of it came from arenas before. (With packed weights the
// product library notes each call on the heap, and frees the note; that is looked at apart.)
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "framework/core/profile.h"
#include "tests/framework/model/test_model.h"

namespace {

std::atomic<int64_t> allocations = 0, freed = 0;

void* counted(size_t bytes, size_t alignment) {
  ++allocations;
  void* data = alignment <= alignof(std::max_align_t)
                   ? std::malloc(bytes)
                   : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

void* operator new(size_t bytes) { return counted(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<size_t>(alignment));
}
namespace {

void counted_free(void* data) {
  freed += data != nullptr;
  std::free(data);
}

}  // namespace

void operator delete(void* data) noexcept { counted_free(data); }
void operator delete(void* data, size_t) noexcept { counted_free(data); }
void operator delete(void* data, std::align_val_t) noexcept { counted_free(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { counted_free(data); }

namespace fern {
namespace {

class IgnoreGradients : public GradSink {
 public:
  void add(const Parameter&) override {}
};

struct Heap {
  int64_t taken = 0, kept = 0;
};

// What forward and backward do to the heap, after a first step in which ops and the product library set
// themselves up.
Heap heap_of_a_step(bool recompute, bool packed, DType dtype, bool profiled = false,
                    const ExpertConfig& experts = {}) {
  TestModel test({.vocabulary = 50,
                  .layers = 2,
                  .hidden = 32,
                  .heads = 4,
                  .kv_heads = 2,
                  .head_dim = 12,
                  .ffn = 48,
                  .context = 40,
                  .qk_norm = true,
                  .dtype = dtype,
                  .recompute = recompute,
                  .experts = experts},
                 1, packed);
  const MicroBatch batch = random_batch(50, 2, 40, 1);
  test.prepare(80);
  test.model.routing_record().counts = RoutingCounts(2, experts.count, 1);
  std::vector<double> sequence_loss(2);
  IgnoreGradients sink;
  Profile profile;
  if (profiled) test.stream.set_profile(&profile);
  const auto step = [&] {
    profile.begin_step(1);
    test.model.parameters().note_change();
    test.model.forward(*test.activations, sequence_loss, batch, test.stream);
    test.model.backward(*test.activations, batch, sink, test.stream);
  };
  step();
  const int64_t taken = allocations, live = allocations - freed;
  step();
  return {allocations - taken, allocations - freed - live};
}

TEST(Transformer, AStepAllocatesNothing) {
  EXPECT_EQ(heap_of_a_step(false, false, DType::kF32).taken, 0);
  EXPECT_EQ(heap_of_a_step(true, false, DType::kF32).taken, 0);
}

TEST(Transformer, AStepWithExpertsAllocatesNothing) {
  const ExpertConfig experts = {.count = 4, .active = 2, .shared = 1, .balance_loss = 0.01, .z_loss = 0.01};
  EXPECT_EQ(heap_of_a_step(false, false, DType::kF32, false, experts).taken, 0);
  EXPECT_EQ(heap_of_a_step(true, false, DType::kF32, false, experts).taken, 0);
}

TEST(Transformer, AProfiledStepAllocatesNothing) {
  EXPECT_EQ(heap_of_a_step(false, false, DType::kF32, /*profiled=*/true).taken, 0);
}

TEST(Transformer, AStepWithPackedWeightsKeepsNothing) {
  EXPECT_EQ(heap_of_a_step(false, true, DType::kF32).kept, 0);
  EXPECT_EQ(heap_of_a_step(false, true, DType::kBF16).kept, 0);
}

}  // namespace
}  // namespace fern
