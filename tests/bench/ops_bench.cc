// Every op at the shape of a small model: hidden 512, 8 heads of 64, ffn 1408, vocabulary 16000, 2048 tokens
// in documents of 512 (attention also in documents of 64). OMP_NUM_THREADS sets the threads. `FLOP/s` counts
// what the mathematics asks for (causal attention as half of the square); `bytes_per_second` counts each
// tensor once.
#include <benchmark/benchmark.h>

#include <vector>

#include "framework/core/arena.h"
#include "framework/core/rng.h"
#include "framework/ops/attention.h"
#include "framework/ops/cross_entropy.h"
#include "framework/ops/embedding.h"
#include "framework/ops/linear.h"
#include "framework/ops/rms_norm.h"
#include "framework/ops/rotary.h"
#include "framework/ops/swiglu.h"

namespace fern {
namespace {

constexpr int64_t kTokens = 2048, kHidden = 512, kHeads = 8, kFfn = 1408, kVocabulary = 16000, kChunk = 256;
constexpr int64_t kHeadSize = kHidden / kHeads;

// An arena for one benchmark, whose tensors start with random values.
class Memory {
 public:
  Tensor random(Shape shape, DType dtype = DType::kF32) {
    const Tensor tensor = arena_.allocate(dtype, shape);
    for (int64_t i = 0; i < shape.elements(); ++i) {
      const auto value =
          static_cast<float>(random_uniform(1, Purpose::kTest, static_cast<uint64_t>(i % 4099)) - 0.5);
      if (dtype == DType::kBF16)
        tensor.as<BF16>()[i] = narrow<BF16>(value);
      else
        tensor.as<float>()[i] = value;
    }
    return tensor;
  }
  Tensor integers(int64_t size, int64_t (*value)(int64_t)) {
    const Tensor tensor = arena_.allocate(DType::kI32, {size});
    for (int64_t i = 0; i < size; ++i) tensor.as<int32_t>()[i] = static_cast<int32_t>(value(i));
    return tensor;
  }
  Tensor doubles(int64_t size) { return arena_.allocate(DType::kF64, {size}); }

 private:
  Arena arena_{"benchmark", size_t{400} << 20};
};

void report_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void report_values(benchmark::State& state, int64_t values, DType dtype = DType::kF32) {
  state.SetBytesProcessed(state.iterations() * values * static_cast<int64_t>(size_of(dtype)));
}

// Arguments: tokens, inputs, outputs.
void linear_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"T", "I", "O"});
  for (const auto& [inputs, outputs] : {std::pair<int64_t, int64_t>{kHidden, 3 * kHidden},
                                        {kHidden, kHidden},
                                        {kHidden, 2 * kFfn},
                                        {kFfn, kHidden}})
    bench->Args({kTokens, inputs, outputs});
  bench->Args({kChunk, kHidden, kVocabulary});
}

enum class Product { kForward, kInput, kWeight };

void linear(benchmark::State& state, Product product) {
  Memory memory;
  Stream stream;
  const int64_t tokens = state.range(0), inputs = state.range(1), outputs = state.range(2);
  const Tensor x = memory.random({tokens, inputs}), w = memory.random({outputs, inputs}),
               y = memory.random({tokens, outputs});
  for (auto _ : state) {
    if (product == Product::kForward) linear_forward(y, x, w, stream);
    if (product == Product::kInput) linear_backward_input(x, y, w, false, stream);
    if (product == Product::kWeight) linear_backward_weight(w, y, x, stream);
  }
  report_flops(state, 2.0 * static_cast<double>(tokens * inputs * outputs));
}
BENCHMARK_CAPTURE(linear, forward, Product::kForward)->Apply(linear_shapes)->UseRealTime();
BENCHMARK_CAPTURE(linear, backward_input, Product::kInput)->Apply(linear_shapes)->UseRealTime();
BENCHMARK_CAPTURE(linear, backward_weight, Product::kWeight)->Apply(linear_shapes)->UseRealTime();

// Arguments: length of the documents, key heads.
void attention(benchmark::State& state, DType dtype, bool backward) {
  Memory memory;
  Stream stream;
  const int64_t length = state.range(0), kv_heads = state.range(1);
  const int64_t row = (kHeads + 2 * kv_heads) * kHeadSize;
  const Tensor qkv = memory.random({kTokens, row}, dtype), dqkv = memory.random({kTokens, row}, dtype),
               o = memory.random({kTokens, kHidden}, dtype), d_o = memory.random({kTokens, kHidden}, dtype),
               lse = memory.random({kHeads, kTokens}), delta = memory.random({kHeads, kTokens}),
               first = memory.integers(kTokens, [](int64_t t) { return t; }),
               end = memory.integers(kTokens, [](int64_t t) { return t + 1; });
  for (int64_t t = 0; t < kTokens; ++t) first.as<int32_t>()[t] = static_cast<int32_t>(t / length * length);
  const SeenKeys seen = {qkv, first, end};
  attention_forward(o, lse, qkv, seen, kHeads, kv_heads, stream);
  for (auto _ : state) {
    if (backward)
      attention_backward({dqkv, dqkv, delta}, d_o, o, lse, qkv, seen, kHeads, kv_heads, stream);
    else
      attention_forward(o, lse, qkv, seen, kHeads, kv_heads, stream);
  }
  const double pairs = static_cast<double>(kHeads * kTokens * (length + 1)) / 2;
  report_flops(state, (backward ? 10.0 : 4.0) * pairs * kHeadSize);
}
void attention_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"document", "G"})->ArgsProduct({{512, 64}, {8, 2}})->UseRealTime();
}
BENCHMARK_CAPTURE(attention, forward, DType::kF32, false)->Apply(attention_shapes);
BENCHMARK_CAPTURE(attention, forward_bf16, DType::kBF16, false)->Apply(attention_shapes);
BENCHMARK_CAPTURE(attention, backward, DType::kF32, true)->Apply(attention_shapes);
BENCHMARK_CAPTURE(attention, backward_bf16, DType::kBF16, true)->Apply(attention_shapes);

void rms_norm(benchmark::State& state, DType dtype, bool backward) {
  Memory memory;
  Stream stream;
  const Tensor a = memory.random({kTokens, kHidden}, dtype), b = memory.random({kTokens, kHidden}, dtype),
               x = memory.random({kTokens, kHidden}, dtype), y = memory.random({kTokens, kHidden}, dtype),
               w = memory.random({kHidden}), dw = memory.random({kHidden}), rstd = memory.random({kTokens});
  add_rms_norm_forward(y, x, rstd, a, b, w, 1e-5, stream);
  for (auto _ : state) {
    if (backward)
      rms_norm_backward(a, dw, b, x, rstd, w, stream);
    else
      add_rms_norm_forward(y, x, rstd, a, b, w, 1e-5, stream);
  }
  report_values(state, 4 * kTokens * kHidden, dtype);
}
BENCHMARK_CAPTURE(rms_norm, add_forward, DType::kF32, false)->UseRealTime();
BENCHMARK_CAPTURE(rms_norm, add_forward_bf16, DType::kBF16, false)->UseRealTime();
BENCHMARK_CAPTURE(rms_norm, backward, DType::kF32, true)->UseRealTime();
BENCHMARK_CAPTURE(rms_norm, backward_bf16, DType::kBF16, true)->UseRealTime();

void rotary(benchmark::State& state) {
  Memory memory;
  Stream stream;
  const Tensor qkv = memory.random({kTokens, 3 * kHidden}), cosine = memory.random({512, kHeadSize / 2}),
               sine = memory.random({512, kHeadSize / 2}),
               position = memory.integers(kTokens, [](int64_t t) { return t % 512; });
  rotary_tables(cosine, sine, 10000);
  for (auto _ : state) rotary_forward(qkv, cosine, sine, position, kHeads, kHeads, 0, stream);
  report_values(state, 2 * kTokens * 2 * kHidden);
}
BENCHMARK(rotary)->UseRealTime();

void swiglu(benchmark::State& state, DType dtype, bool backward) {
  Memory memory;
  Stream stream;
  const Tensor gate_up = memory.random({kTokens, 2 * kFfn}, dtype),
               dgate_up = memory.random({kTokens, 2 * kFfn}, dtype),
               h = memory.random({kTokens, kFfn}, dtype);
  for (auto _ : state) {
    if (backward)
      swiglu_backward(dgate_up, h, gate_up, stream);
    else
      swiglu_forward(h, gate_up, stream);
  }
  report_values(state, (backward ? 5 : 3) * kTokens * kFfn, dtype);
}
BENCHMARK_CAPTURE(swiglu, forward, DType::kF32, false)->UseRealTime();
BENCHMARK_CAPTURE(swiglu, forward_bf16, DType::kBF16, false)->UseRealTime();
BENCHMARK_CAPTURE(swiglu, backward, DType::kF32, true)->UseRealTime();
BENCHMARK_CAPTURE(swiglu, backward_bf16, DType::kBF16, true)->UseRealTime();

void embedding(benchmark::State& state, bool backward) {
  Memory memory;
  Stream stream;
  const Tensor w = memory.random({kVocabulary, kHidden}), x = memory.random({kTokens, kHidden}),
               input = memory.integers(kTokens, [](int64_t t) { return t * 7919 % kVocabulary; });
  for (auto _ : state) {
    if (backward)
      embedding_backward(w, x, input, stream);
    else
      embedding_forward(x, w, input, stream);
  }
  report_values(state, (backward ? 3 : 2) * kTokens * kHidden);
}
BENCHMARK_CAPTURE(embedding, forward, false)->UseRealTime();
BENCHMARK_CAPTURE(embedding, backward, true)->UseRealTime();

void cross_entropy(benchmark::State& state, DType dtype, bool backward) {
  Memory memory;
  Stream stream;
  const Tensor logits = memory.random({kChunk, kVocabulary}, dtype), loss = memory.doubles(kChunk),
               weight = memory.random({kChunk}),
               target = memory.integers(kChunk, [](int64_t c) { return c * 61; });
  for (auto _ : state) {
    if (backward)
      cross_entropy_forward_backward(loss, logits, target, weight, stream);
    else
      cross_entropy_forward(loss, logits, target, stream);
  }
  report_values(state, (backward ? 2 : 1) * kChunk * kVocabulary, dtype);
}
BENCHMARK_CAPTURE(cross_entropy, forward, DType::kF32, false)->UseRealTime();
BENCHMARK_CAPTURE(cross_entropy, forward_bf16, DType::kBF16, false)->UseRealTime();
BENCHMARK_CAPTURE(cross_entropy, forward_backward, DType::kF32, true)->UseRealTime();
BENCHMARK_CAPTURE(cross_entropy, forward_backward_bf16, DType::kBF16, true)->UseRealTime();

}  // namespace
}  // namespace fern

BENCHMARK_MAIN();
