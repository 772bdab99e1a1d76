// Ranks beside threads, and what the overlap of gradient exchange and backward gives: whole steps (forward,
// backward, reduction, clipping, AdamW) of a 27M-parameter Llama shape, two micro-batches of 4 sequences a
// step, whoever computes them. run_parallel_bench.sh runs the layouts in turn.
//
//   OMP_NUM_THREADS=2 bench_parallel [STEPS [ZERO]]
//   OMP_NUM_THREADS=1 mpirun -n 2 bench_parallel [STEPS [ZERO [STALL_SECONDS]]]
//
// With STALL_SECONDS ranks watch each other as in training, and names end in _watched; run_watch_bench.sh
// tells what that costs. Steps with and without overlap alternate. The last lines are "NAME ms X Y ...", one
// number a step of the slowest rank, for the script.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "framework/core/rng.h"
#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/optim/grad_norm.h"
#include "parallel/parallelize.h"

namespace fern {
namespace {

const ModelConfig kShape = {
    .vocabulary = 16000, .layers = 6, .hidden = 512, .heads = 8, .kv_heads = 8, .ffn = 1408, .context = 512};
constexpr int64_t kFewestShards = 2;  // a micro-batch each; more ranks have one each
constexpr int64_t kSequences = 4;
constexpr double kClipNorm = 1.0;

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double processor_ms() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Random tokens, one document a sequence, every position with a target.
MicroBatch random_batch(int64_t shard, int64_t shards) {
  MicroBatch batch;
  batch.sequences = kSequences;
  batch.context = kShape.context;
  const int64_t tokens = kSequences * kShape.context;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto id = [&](uint32_t what) {
      return static_cast<int32_t>(random_below(static_cast<uint64_t>(kShape.vocabulary), 1, Purpose::kTest,
                                               static_cast<uint64_t>(shard * tokens + t), what));
    };
    batch.input_T.push_back(id(0));
    batch.target_T.push_back(id(1));
    batch.document_start_T.push_back(static_cast<int32_t>(t / kShape.context * kShape.context));
    batch.loss_weight_T.push_back(1.0f / static_cast<float>(shards * tokens));
  }
  batch.language_S.assign(kSequences, 0);
  batch.length_S.assign(kSequences, static_cast<int32_t>(kShape.context));
  batch.tokens = batch.loss_tokens = tokens;
  batch.batch_tokens = shards * tokens;
  return batch;
}

struct StepTimes {
  double compute_ms = 0, wait_ms = 0, update_ms = 0, all_ms = 0;  // wall clock
  double processor_ms = 0;                                        // of all threads of all ranks
};

class Bench {
 public:
  Bench(Communicator& communicator, int64_t zero, Pulse* pulse)
      : communicator_(communicator),
        shards_(std::max(kFewestShards, int64_t{communicator.size()})),
        mesh_(resolve({.data = 0, .zero = zero}, communicator.size(), shards_)),
        model_(kShape),
        arena_(sized_arena("bench", [this](Arena& arena) { allocate(arena); })) {
    model_.parameters().initialize(1);
    stream_.set_pulse(pulse);
    squares_.resize(static_cast<size_t>(gradient_chunks(model_.parameters())));
    for (int64_t shard = 0; shard < shards_; ++shard) batches_.push_back(random_batch(shard, shards_));
  }

  StepTimes step(bool overlap) {
    communicator_.barrier();
    const double begin = now_ms(), processor_begin = processor_ms();
    forward_backward(overlap);
    const double computed = now_ms();
    reducers_.gradients->finish();
    std::fill(squares_.begin(), squares_.end(), 0.0);
    square_sums(squares_, model_.parameters(), reducers_.gradients->counted());
    reducers_.scalars->sum(squares_);
    const double waited = now_ms();
    optimizer_->step(model_.parameters(), 3e-4, std::min(1.0, kClipNorm / norm_of(squares_)), ++updates_,
                     stream_);
    reducers_.gradients->gather_values();
    const double updated = now_ms();
    communicator_.barrier();
    double processor[1] = {processor_ms() - processor_begin};
    communicator_.all_reduce_sum(processor);
    return {computed - begin, waited - computed, updated - waited, now_ms() - begin, processor[0]};
  }

 private:
  void allocate(Arena& arena) {
    Parameters& parameters = model_.parameters();
    parameters.allocate(arena, DType::kF32);
    activations_ = model_.allocate_activations(arena, kSequences * kShape.context);
    reducers_ = parallelize(parameters, mesh_, shards_, communicator_, arena);
    optimizer_ = std::make_unique<AdamW>(AdamWConfig{}, parameters, reducers_.gradients->slices(), arena);
  }

  void forward_backward(bool overlap) {
    GradReducer& gradients = *reducers_.gradients;
    for (int64_t i = 0; i < gradients.shards(); ++i) {
      const MicroBatch& batch = batches_[static_cast<size_t>(gradients.shard(i))];
      double sequence_loss[kSequences];
      gradients.begin_shard();
      model_.forward(*activations_, sequence_loss, batch, stream_);
      if (overlap) gradients.begin_last_micro_batch();
      model_.backward(*activations_, batch, gradients, stream_);
      gradients.end_shard();
    }
  }

  Communicator& communicator_;
  const int64_t shards_;
  Mesh mesh_;
  Transformer model_;
  std::vector<MicroBatch> batches_;
  std::unique_ptr<Transformer::Activations> activations_;
  Reducers reducers_;
  std::unique_ptr<AdamW> optimizer_;
  Arena arena_;
  std::vector<double> squares_;
  Stream stream_;
  int64_t updates_ = 0;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Series {
 public:
  void add(const StepTimes& times) {
    compute_ms_.push_back(times.compute_ms);
    wait_ms_.push_back(times.wait_ms);
    update_ms_.push_back(times.update_ms);
    all_ms_.push_back(times.all_ms);
    processor_ms_.push_back(times.processor_ms);
  }
  void print(const char* name) const {
    fmt::print(
        "# {}: forward and backward {:.0f} ms, reduction after it {:.0f} ms, AdamW {:.0f} ms; processor time "
        "of "
        "all threads {:.0f} ms\n",
        name, median(compute_ms_), median(wait_ms_), median(update_ms_), median(processor_ms_));
    fmt::print("{} ms {:.1f}\n", name, fmt::join(all_ms_, " "));
  }

 private:
  std::vector<double> compute_ms_, wait_ms_, update_ms_, all_ms_, processor_ms_;
};

void run(Communicator& communicator, int steps, int64_t zero, double stall_s) {
  Pulse* const pulse = communicator.watch(stall_s);
  Bench bench(communicator, zero, pulse);
  bench.step(false);  // the first touches all memory
  Series plain, overlapped;
  for (int i = 0; i < steps; ++i) {
    plain.add(bench.step(false));
    if (communicator.size() > 1) overlapped.add(bench.step(true));
  }
  if (communicator.rank() > 0) return;
  const std::string layout =
      fmt::format("{}x{}{}", communicator.size(), omp_get_max_threads(), pulse != nullptr ? "_watched" : "");
  plain.print(layout.c_str());
  if (communicator.size() > 1) overlapped.print((layout + "_overlapped").c_str());
}

}  // namespace
}  // namespace fern

int main(int argc, char** argv) {
  const auto communicator = fern::make_communicator(&argc, &argv);
  fern::run(*communicator, argc > 1 ? std::max(1, std::atoi(argv[1])) : 5, argc > 2 ? std::atoi(argv[2]) : 0,
            argc > 3 ? std::atof(argv[3]) : 0);
  return 0;
}
