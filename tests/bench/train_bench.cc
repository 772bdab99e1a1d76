// Training speed of a 27M-parameter Llama shape: whole steps (forward, backward, clipping, AdamW) on one
// micro-batch. train_peer.py runs the same step in PyTorch, interleaved with this program.
//
//   OMP_NUM_THREADS=2 bench_train [STEPS]
//
// The last line is "tokens_per_s X Y ...", one number a step, for the script.
#include <dnnl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "framework/core/rng.h"
#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/optim/grad_norm.h"

namespace fern {
namespace {

const ModelConfig kShape = {
    .vocabulary = 16000, .layers = 6, .hidden = 512, .heads = 8, .kv_heads = 8, .ffn = 1408, .context = 512};
constexpr int64_t kSequences = 4;
constexpr double kClipNorm = 1.0;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string processor() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

// Best of several square products by the library itself: what a step is measured against.
double gemm_peak_flops() {
  constexpr int64_t kSize = 2048;
  std::vector<float> a(kSize * kSize, 1.0f), b(kSize * kSize, 1.0f), c(kSize * kSize);
  double best = 0;
  for (int run = 0; run < 8; ++run) {
    const double begin = now_s();
    dnnl_sgemm('N', 'T', kSize, kSize, kSize, 1.0f, a.data(), kSize, b.data(), kSize, 0.0f, c.data(), kSize);
    best = std::max(best, 2.0 * kSize * kSize * kSize / (now_s() - begin));
  }
  return best;
}

// Random tokens, one document a sequence, every position with a target.
MicroBatch random_batch() {
  MicroBatch batch;
  batch.sequences = kSequences;
  batch.context = kShape.context;
  const int64_t tokens = kSequences * kShape.context;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto id = [&](uint32_t what) {
      return static_cast<int32_t>(random_below(static_cast<uint64_t>(kShape.vocabulary), 1, Purpose::kTest,
                                               static_cast<uint64_t>(t), what));
    };
    batch.input_T.push_back(id(0));
    batch.target_T.push_back(id(1));
    batch.document_start_T.push_back(static_cast<int32_t>(t / kShape.context * kShape.context));
    batch.loss_weight_T.push_back(1.0f / static_cast<float>(tokens));
  }
  batch.language_S.assign(kSequences, 0);
  batch.tokens = batch.loss_tokens = tokens;
  return batch;
}

class IgnoreGradients : public GradSink {
 public:
  void add(const Parameter&) override {}
};

// Seconds of each part of one step.
struct StepTimes {
  double forward_s = 0, backward_s = 0, update_s = 0;
  double all_s() const { return forward_s + backward_s + update_s; }
};

class Bench {
 public:
  Bench()
      : model_(kShape),
        batch_(random_batch()),
        arena_(sized_arena("bench", [this](Arena& arena) { allocate(arena); })) {
    model_.parameters().initialize(1);
    squares_.resize(static_cast<size_t>(gradient_chunks(model_.parameters())));
  }

  StepTimes step() {
    StepTimes times;
    const double begin = now_s();
    fill_zero(model_.parameters().gradients());
    double sequence_loss[kSequences];
    loss_ = model_.forward(*activations_, sequence_loss, batch_, stream_);
    times.forward_s = now_s() - begin;
    model_.backward(*activations_, batch_, sink_, stream_);
    times.backward_s = now_s() - begin - times.forward_s;
    square_sums(squares_, model_.parameters(), optimizer_->slice());
    const double scale = std::min(1.0, kClipNorm / norm_of(squares_));
    optimizer_->step(model_.parameters(), 3e-4, scale, ++updates_, stream_);
    times.update_s = now_s() - begin - times.forward_s - times.backward_s;
    return times;
  }

  double loss() const { return loss_; }
  int64_t tokens() const { return batch_.tokens; }
  int64_t parameters() const { return model_.parameters().elements(); }
  size_t arena_bytes() const { return arena_.used_bytes(); }

 private:
  void allocate(Arena& arena) {
    model_.parameters().allocate(arena, DType::kF32);
    activations_ = model_.allocate_activations(arena, batch_.tokens);
    optimizer_ = std::make_unique<AdamW>(AdamWConfig{}, model_.parameters(),
                                         Slice{0, model_.parameters().padded_elements()}, arena);
  }

  Transformer model_;
  MicroBatch batch_;
  std::unique_ptr<Transformer::Activations> activations_;
  std::unique_ptr<AdamW> optimizer_;
  Arena arena_;
  std::vector<double> squares_;
  IgnoreGradients sink_;
  Stream stream_;
  double loss_ = 0;
  int64_t updates_ = 0;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void run(int steps) {
  Bench bench;
  fmt::print(
      "{}, {} threads, fp32; d {}, {} layers, {} heads, {} kv heads, ffn {}, vocabulary {}, {} x {} tokens\n",
      processor(), omp_get_max_threads(), kShape.hidden, kShape.layers, kShape.heads, kShape.kv_heads,
      kShape.ffn, kShape.vocabulary, kSequences, kShape.context);
  bench.step();  // the first touches all memory
  std::vector<double> rates, forward_ms, backward_ms, update_ms;
  double peak = 0;
  for (int i = 0; i < steps; ++i) {
    peak = std::max(peak, gemm_peak_flops());
    const StepTimes times = bench.step();
    rates.push_back(static_cast<double>(bench.tokens()) / times.all_s());
    forward_ms.push_back(1e3 * times.forward_s);
    backward_ms.push_back(1e3 * times.backward_s);
    update_ms.push_back(1e3 * times.update_s);
  }
  const double flops = median(rates) * training_flops_per_token(kShape, kShape.context);
  fmt::print("{} parameters, {:.0f} MB in all, loss {:.4f}\n", bench.parameters(),
             static_cast<double>(bench.arena_bytes()) / 1e6, bench.loss());
  fmt::print("median of {}: forward {:.0f} ms, backward {:.0f} ms, clip and AdamW {:.0f} ms\n", steps,
             median(forward_ms), median(backward_ms), median(update_ms));
  fmt::print("{:.0f} tokens/s, {:.1f} GFLOP/s, {:.1f} % of the GEMM peak of {:.1f} GFLOP/s\n", median(rates),
             flops / 1e9, 100 * flops / peak, peak / 1e9);
  fmt::print("tokens_per_s {:.1f}\n", fmt::join(rates, " "));
}

}  // namespace
}  // namespace fern

int main(int argc, char** argv) {
  fern::run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 5);
  return 0;
}
