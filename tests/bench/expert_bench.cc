// A feed-forward block of experts beside the dense one of the same active size: forward and backward with
// norm, routing and permutation, in turns.
//
//   OMP_NUM_THREADS=2 bench_experts [--experts 8 --active 2 --hidden 768 --ffn 1024 ...]
//
// Both are given the FLOP/s of the same products, those of `active` times `ffn` inner values a token: what an
// expert layer does besides counts as lost.
#include <fmt/format.h>
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "framework/core/profile_report.h"
#include "framework/core/rng.h"
#include "framework/layers/feed_forward.h"
#include "tests/bench/machine.h"

namespace fern {
namespace {

struct Options {
  ModelConfig model = {
      .layers = 1, .hidden = 768, .heads = 12, .kv_heads = 12, .experts = {.count = 8, .ffn = 1024}};
  int64_t tokens = 2048;
  int rounds = 15;
  bool is_bf16 = false, profile = false;
};

class IgnoreGradients : public GradSink {
 public:
  void add(const Parameter&) override {}
};

void fill_normal(const Tensor& to, uint64_t seed) {
  with_float_type("bench", to.dtype(), [&]<typename T>() {
    uint64_t index = 0;
    for (T& value : to.values<T>())
      value = narrow<T>(static_cast<Wide<T>>(random_normal(seed, Purpose::kTest, index++)));
  });
}

template <typename Work>
double seconds(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

struct Times {
  std::vector<double> forward_s, backward_s, all_s;
};

// One block with its memory and an input.
class BenchBlock {
 public:
  BenchBlock(const ModelConfig& config, int64_t tokens)
      : config_(config),
        tokens_(tokens),
        routing_(config),
        block_(parameters_, axis_, dispatcher_, config, 0, routing_),
        arena_(sized_arena("block", [this](Arena& arena) { allocate(arena); })) {
    parameters_.initialize(1);
    fill_normal(x_TD_, 2);
    positions_.training = true;
  }
  BenchBlock(const BenchBlock&) = delete;

  void run(Times* times) {
    profile_.begin_step(++step_);
    fill_zero(saved_.x_TD);
    fill_normal(dx_TD_, 3);
    const double forward_s =
        seconds([&] { block_.forward(y_TD_, saved_, scratch_, x_TD_, positions_, stream_); });
    const double backward_s =
        seconds([&] { block_.backward(dx_TD_, saved_, scratch_, positions_, sink_, stream_); });
    if (times == nullptr) return;
    times->forward_s.push_back(forward_s);
    times->backward_s.push_back(backward_s);
    times->all_s.push_back(forward_s + backward_s);
  }
  void start_profile() { stream_.set_profile(&profile_); }
  const Profile& profile() const { return profile_; }

 private:
  void allocate(Arena& arena) {
    const auto take = [&] { return arena.allocate(config_.dtype, {tokens_, config_.hidden}); };
    parameters_.allocate(arena, wide_of(config_.dtype));
    rooms_ = PackingRooms();
    block_.reserve_packed(rooms_, {config_.dtype, static_cast<double>(tokens_)});
    rooms_.allocate(arena);
    saved_ = block_.allocate(arena, tokens_);
    scratch_ = allocate_block_scratch(arena, config_, axis_, dispatcher_, tokens_);
    positions_.language_T = arena.allocate(DType::kI32, {tokens_});
    x_TD_ = take(), y_TD_ = take(), dx_TD_ = take();
  }

  ModelConfig config_;
  int64_t tokens_, step_ = 0;
  Parameters parameters_;
  RoutingState routing_;
  LoneAxis axis_;
  LoneDispatcher dispatcher_;
  PackingRooms rooms_;
  FeedForwardBlock block_;
  FeedForwardBlock::Saved saved_;
  BlockScratch scratch_;
  RoutedPositions positions_;
  Tensor x_TD_, y_TD_, dx_TD_;
  Arena arena_;
  IgnoreGradients sink_;
  Stream stream_;
  Profile profile_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print_row(const char* name, const Times& times, double forward_flops) {
  const auto rate = [&](const std::vector<double>& all_s, double flops) {
    return flops / median(all_s) / 1e9;
  };
  fmt::print("{:<8} forward {:6.1f}   backward {:6.1f}   both {:6.1f} GFLOP/s ({:.1f} ms)\n", name,
             rate(times.forward_s, forward_flops), rate(times.backward_s, 2 * forward_flops),
             rate(times.all_s, 3 * forward_flops), 1e3 * median(times.all_s));
}

double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return median(ratios);
}

void run(Options options) {
  ModelConfig &experts = options.model, dense = experts;
  if (options.is_bf16) experts.dtype = DType::kBF16;
  dense = experts;
  dense.experts = {};
  dense.ffn = experts.experts.active * experts.expert_ffn();
  experts.ffn = experts.expert_ffn();
  fmt::print("{}, {} threads, {}; d {}, {} experts of {}, {} active, {} tokens\n", processor_name(),
             omp_get_max_threads(), name_of(experts.dtype), experts.hidden, experts.experts.count,
             experts.ffn, experts.experts.active, options.tokens);
  BenchBlock expert_block(experts, options.tokens), dense_block(dense, options.tokens);
  Times expert_times, dense_times;
  if (options.profile) expert_block.start_profile(), dense_block.start_profile();
  for (int round = -1; round < options.rounds; ++round) {  // the first one warms up
    expert_block.run(round < 0 ? nullptr : &expert_times);
    dense_block.run(round < 0 ? nullptr : &dense_times);
  }
  const double flops = 2.0 * 3.0 * static_cast<double>(options.tokens * dense.hidden * dense.ffn);
  print_row("dense", dense_times, flops);
  print_row("experts", expert_times, flops);
  fmt::print("experts at {:.3f} of dense: forward {:.3f}, backward {:.3f} (medians of {} rounds)\n",
             median_ratio(dense_times.all_s, expert_times.all_s),
             median_ratio(dense_times.forward_s, expert_times.forward_s),
             median_ratio(dense_times.backward_s, expert_times.backward_s), options.rounds);
  if (options.profile)
    fmt::print("experts\n{}dense\n{}", profile_table(expert_block.profile()),
               profile_table(dense_block.profile()));
}

Options read_options(int argc, char** argv) {
  Options options;
  ModelConfig& model = options.model;
  CLI::App program("A block of experts beside a dense one; OMP_NUM_THREADS sets the threads");
  program.add_option("--experts", model.experts.count, "experts of the layer")->capture_default_str();
  program.add_option("--active", model.experts.active, "experts of a token")->capture_default_str();
  program.add_option("--ffn", model.experts.ffn, "inner size of an expert")->capture_default_str();
  program.add_option("--hidden", model.hidden, "model width")->capture_default_str();
  program.add_option("--tokens", options.tokens, "tokens of a batch")->capture_default_str();
  program.add_option("--rounds", options.rounds, "rounds to time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  program.add_flag("--bf16", options.is_bf16, "activations in bf16 (default: f32)");
  program.add_flag("--profile", options.profile, "say what each op took");
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& end) {
    std::exit(program.exit(end));
  }
  return options;
}

}  // namespace
}  // namespace fern

int main(int argc, char** argv) {
  try {
    fern::run(fern::read_options(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_experts: {}\n", error.what());
    return 1;
  }
}
