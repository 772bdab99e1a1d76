// A training step takes no memory from the heap: all of it came from arenas before.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/framework/model/test_model.h"

namespace {

std::atomic<int64_t> allocations = 0;

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
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { std::free(data); }

namespace fern {
namespace {

class IgnoreGradients : public GradSink {
 public:
  void add(const Parameter&) override {}
};

// Of forward and backward, after a first step in which ops and the product library set themselves up.
int64_t allocations_of_a_step(bool recompute) {
  TestModel test({.vocabulary = 50,
                  .layers = 2,
                  .hidden = 32,
                  .heads = 4,
                  .kv_heads = 2,
                  .ffn = 48,
                  .context = 40,
                  .recompute = recompute});
  const MicroBatch batch = random_batch(50, 2, 40, 1);
  test.prepare(80);
  std::vector<double> sequence_loss(2);
  IgnoreGradients sink;
  const auto step = [&] {
    test.model.forward(*test.activations, sequence_loss, batch, test.stream);
    test.model.backward(*test.activations, batch, sink, test.stream);
  };
  step();
  const int64_t before = allocations;
  step();
  return allocations - before;
}

TEST(Transformer, AStepAllocatesNothing) {
  EXPECT_EQ(allocations_of_a_step(false), 0);
  EXPECT_EQ(allocations_of_a_step(true), 0);
}

}  // namespace
}  // namespace fern
