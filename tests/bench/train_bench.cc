// Training speed of a Llama shape: whole steps (forward, backward, clipping, AdamW) on the same batch, and
// the peak of the process's memory. train_peer.py runs the same step in PyTorch, interleaved with this
// program.
//
//   OMP_NUM_THREADS=2 bench_train [--hidden 512 --layers 6 --ffn 1408 ...]     bench_train --help
//
// The last line is a JSON object for the script.
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "framework/core/profile_report.h"
#include "framework/core/rng.h"
#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/optim/grad_norm.h"
#include "framework/sparsity/sparse_product.h"
#include "framework/train/topology.h"
#include "tests/bench/machine.h"
#include "tests/bench/train_options.h"

namespace fern {
namespace {

constexpr double kClipNorm = 1.0;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Random tokens, one document a sequence, every position with a target.
MicroBatch random_batch(const ModelConfig& model, int64_t sequences, int64_t batch_tokens) {
  MicroBatch batch;
  batch.sequences = sequences;
  batch.context = model.context;
  const int64_t tokens = sequences * model.context;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto id = [&](uint32_t what) {
      return static_cast<int32_t>(random_below(static_cast<uint64_t>(model.vocabulary), 1, Purpose::kTest,
                                               static_cast<uint64_t>(t), what));
    };
    batch.input_T.push_back(id(0));
    batch.target_T.push_back(id(1));
    batch.document_start_T.push_back(static_cast<int32_t>(t / model.context * model.context));
    batch.loss_weight_T.push_back(1.0f / static_cast<float>(batch_tokens));
  }
  batch.language_S.assign(static_cast<size_t>(sequences), 0);
  batch.length_S.assign(static_cast<size_t>(sequences), static_cast<int32_t>(model.context));
  batch.tokens = batch.loss_tokens = tokens;
  batch.batch_tokens = batch_tokens;
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
  explicit Bench(const TrainBenchOptions& options)
      : model_(made_sparse(Transformer(options.model), options.sparsity)),
        batch_(random_batch(options.model, options.sequences / options.micro_batches,
                            options.sequences * options.model.context)),
        micro_batches_(options.micro_batches),
        keep_packed_(options.keep_packed),
        sequence_losses_(static_cast<size_t>(batch_.sequences)),
        arena_(sized_arena("bench", [this](Arena& arena) { allocate(arena); })) {
    model_.parameters().initialize(1);
    squares_.resize(static_cast<size_t>(gradient_chunks(model_.parameters())));
    if (options.profile) stream_.set_profile(&profile_);
  }

  StepTimes step() {
    StepTimes times;
    profile_.begin_step(updates_ + 1);
    const SpanTimer timer(stream_, "step");
    fill_zero(model_.parameters().gradients());
    loss_ = 0;
    for (int64_t i = 0; i < micro_batches_; ++i) {
      const double start = now_s();
      loss_ += model_.forward(*activations_, sequence_losses_, batch_, stream_);
      const double middle = now_s();
      model_.backward(*activations_, batch_, sink_, stream_);
      times.forward_s += middle - start;
      times.backward_s += now_s() - middle;
    }
    const double done = now_s();
    square_sums(squares_, model_.parameters(), optimizer_->slices());
    const double scale = std::min(1.0, kClipNorm / norm_of(squares_));
    optimizer_->step(model_.parameters(), 3e-4, scale, ++updates_, stream_);
    times.update_s = now_s() - done;
    return times;
  }

  const Profile& profile() const { return profile_; }
  double loss() const { return loss_; }
  int64_t tokens() const { return micro_batches_ * batch_.tokens; }
  int64_t parameters() const { return model_.parameters().elements(); }
  // Bytes of values, gradients, moments and index of the sparse weights, and what dense ones would take.
  std::pair<double, double> sparse_bytes() const {
    constexpr double kState_bytes = 16;
    double sparse = 0, dense = 0;
    for (const auto& [run, pattern] : model_.parameters().sparse_runs()) {
      sparse += kState_bytes * static_cast<double>(pattern.nonzeros()) +
                static_cast<double>(pattern.bytes() + SparseProduct(pattern).index_bytes());
      dense += kState_bytes * static_cast<double>(pattern.rows() * pattern.columns());
    }
    return {sparse, dense};
  }
  size_t arena_bytes() const { return arena_.used_bytes(); }

 private:
  void allocate(Arena& arena) {
    model_.parameters().allocate(arena, wide_of(model_.config().dtype));
    model_.allocate_packed_weights(arena, keep_packed_ ? 1 : batch_.tokens);
    activations_ = model_.allocate_activations(arena, batch_.tokens);
    optimizer_ = std::make_unique<AdamW>(AdamWConfig{}, model_.parameters(),
                                         Slice{0, model_.parameters().padded_elements()}, arena);
  }

  static Transformer made_sparse(Transformer model, const SparsityConfig& sparsity) {
    const auto method = make_method(sparsity, model.parameters(), /*train_steps=*/1000, /*seed=*/1);
    if (method) set_initial_patterns(model.parameters(), *method);
    return model;
  }

  Transformer model_;
  MicroBatch batch_;
  int64_t micro_batches_;  // all alike
  bool keep_packed_;
  std::vector<double> sequence_losses_;
  std::unique_ptr<Transformer::Activations> activations_;
  std::unique_ptr<AdamW> optimizer_;
  Arena arena_;
  std::vector<double> squares_;
  IgnoreGradients sink_;
  Stream stream_;
  Profile profile_;
  double loss_ = 0;
  int64_t updates_ = 0;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Measured {
  std::vector<double> tokens_per_s, forward_ms, backward_ms, update_ms;
  double idle_bytes = 0, peak_bytes = 0;  // of the process: before it began, and the most it had
  double gemm_flops = 0;
};

Measured measure(const TrainBenchOptions& options) {
  Measured measured;
  measured.idle_bytes = resident_bytes();
  Bench bench(options);
  bench.step();  // the first touches all memory
  measured.peak_bytes = peak_resident_bytes();
  for (int i = 0; i < options.steps; ++i) {
    if (options.measure_peak)
      measured.gemm_flops = std::max(measured.gemm_flops, gemm_peak_flops(name_of(options.model.dtype)));
    const StepTimes times = bench.step();
    measured.tokens_per_s.push_back(static_cast<double>(bench.tokens()) / times.all_s());
    measured.forward_ms.push_back(1e3 * times.forward_s);
    measured.backward_ms.push_back(1e3 * times.backward_s);
    measured.update_ms.push_back(1e3 * times.update_s);
  }
  fmt::print("{} parameters, {:.0f} MB in arenas, loss {:.4f}\n", bench.parameters(),
             static_cast<double>(bench.arena_bytes()) / 1e6, bench.loss());
  if (const auto [sparse, dense] = bench.sparse_bytes(); dense > 0)
    fmt::print("sparse weights: values, gradients, moments and index {:.1f} MB, {:.3f} of dense\n",
               sparse / 1e6, sparse / dense);
  if (options.profile) fmt::print("{}", profile_table(bench.profile()));
  return measured;
}

void print_shape(const TrainBenchOptions& options) {
  const ModelConfig& model = options.model;
  if (options.sparsity.sparsity > 0)
    fmt::print("attention and feed-forward {:.0f} % sparse in blocks of {}; ",
               100 * options.sparsity.sparsity, options.sparsity.block);
  fmt::print("{}, {} threads, {}; d {}, {} layers, {} heads, ffn {}, vocabulary {}, {} x {} tokens\n",
             processor_name(), omp_get_max_threads(), name_of(model.dtype), model.hidden, model.layers,
             model.heads, model.ffn, model.vocabulary, options.sequences, model.context);
  if (options.micro_batches > 1) fmt::print("in {} micro-batches\n", options.micro_batches);
  if (model.experts.count > 0)
    fmt::print("{} experts of that ffn in every layer, {} for each token\n", model.experts.count,
               model.experts.active);
}

void print_result(const TrainBenchOptions& options, const Measured& measured) {
  const double rate = median(measured.tokens_per_s),
               flops_per_token = training_flops_per_token(options.model, options.model.context);
  fmt::print("median of {}: forward {:.0f} ms, backward {:.0f} ms, clip and AdamW {:.0f} ms\n", options.steps,
             median(measured.forward_ms), median(measured.backward_ms), median(measured.update_ms));
  fmt::print("peak memory {:.0f} MB, {:.0f} MB above the idle process\n", measured.peak_bytes / 1e6,
             (measured.peak_bytes - measured.idle_bytes) / 1e6);
  fmt::print("{:.0f} tokens/s, {:.1f} GFLOP/s", rate, rate * flops_per_token / 1e9);
  if (options.measure_peak)
    fmt::print(", {:.1f} % of the GEMM peak of {:.1f} GFLOP/s",
               100 * rate * flops_per_token / measured.gemm_flops, measured.gemm_flops / 1e9);
  const nlohmann::json all = {{"tokens_per_s", measured.tokens_per_s},
                              {"peak_bytes", measured.peak_bytes},
                              {"idle_bytes", measured.idle_bytes},
                              {"gemm_flops", measured.gemm_flops},
                              {"flops_per_token", flops_per_token}};
  fmt::print("\n{}\n", all.dump());
}

}  // namespace
}  // namespace fern

int main(int argc, char** argv) {
  try {
    const fern::TrainBenchOptions options = fern::read_train_bench_options(argc, argv);
    fern::print_shape(options);
    fern::print_result(options, fern::measure(options));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_train: {}\n", error.what());
    return 1;
  }
}
