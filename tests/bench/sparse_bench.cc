// What a pattern saves: forward, dX and dW of one layer beside the best of the dense products that this
// program is linked with, activations token-major. Sparse and dense take turns within a round; `gain` is the
// median over rounds of the time of the fastest dense library divided by ours, for the three products
// together. Useful GFLOP/s count the weights that exist. sparse_peer.py puts other programs beside it.
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/core/arena.h"
#include "framework/core/rng.h"
#include "framework/sparsity/simd_level.h"
#include "framework/sparsity/sparse_product.h"
#include "tests/bench/dense_peers.h"
#include "tests/bench/machine.h"
#include "tests/bench/sparse_options.h"

namespace fern {
namespace {

using Clock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

void fill(const Tensor& tensor) {
  const auto value = [](int64_t i) {
    return static_cast<float>(random_uniform(1, Purpose::kTest, static_cast<uint64_t>(i) % 4099) - 0.5);
  };
  for (int64_t i = 0; i < tensor.elements(); ++i)
    if (tensor.dtype() == DType::kBF16)
      tensor.as<BF16>()[i] = narrow<BF16>(value(i));
    else
      tensor.as<float>()[i] = value(i);
}

// Each block exists with the probability `density`.
Pattern random_pattern(int64_t rows, int64_t columns, int64_t block, double density) {
  std::vector<int64_t> row_begin = {0};
  std::vector<uint16_t> index;
  for (int64_t r = 0; r < rows / block; ++r) {
    for (int64_t c = 0; c < columns / block; ++c)
      if (random_uniform(1, Purpose::kTest, static_cast<uint64_t>(r), static_cast<uint32_t>(c)) < density)
        index.push_back(static_cast<uint16_t>(c));
    row_begin.push_back(static_cast<int64_t>(index.size()));
  }
  return {rows, columns, {block, block}, std::move(row_begin), std::move(index)};
}

class Layer {
 public:
  Layer(const SparseBenchOptions& options, int64_t outputs, int64_t inputs)
      : arena_("benchmark",
               static_cast<size_t>(outputs * inputs * 12 + options.tokens * (outputs + inputs) * 8 + 4096)) {
    const auto make = [&](DType dtype, Shape shape) {
      const Tensor tensor = arena_.allocate(dtype, shape);
      fill(tensor);
      return tensor;
    };
    const Shape y{options.tokens, outputs}, x{options.tokens, inputs}, w{outputs, inputs};
    operands = {.y_TO = make(options.dtype, y),
                .x_TI = make(options.dtype, x),
                .dy_TO = make(options.dtype, y),
                .dx_TI = make(options.dtype, x),
                .w_OI = make(DType::kF32, w),
                .dw_OI = make(DType::kF32, w)};
    values_ = make(DType::kF32, w);
  }

  // Room for `count` values of a pattern.
  Tensor values(int64_t count) const { return Tensor::of(values_.as<float>(), {count}); }

  LayerOperands operands;

 private:
  Arena arena_;
  Tensor values_;
};

double seconds(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Threads that slept meanwhile may wake beside each other on one core. A while of work for all of them, and
// the system has spread them over its cores again.
void wake_threads() {
  constexpr double kAwake = 0.01;
#pragma omp parallel
  {
    const auto begin = Clock::now();
    while (std::chrono::duration<double>(Clock::now() - begin).count() < kAwake) {
    }
  }
}

// Times of forward, dX and dW, and of all three.
struct Times {
  double product[3] = {};
  double whole() const { return product[0] + product[1] + product[2]; }
};

Times time_of(const std::function<void()> (&products)[3]) {
  wake_threads();
  Times times;
  for (int i = 0; i < 3; ++i) times.product[i] = seconds(products[i]);
  return times;
}

double gigaflops(const std::vector<Times>& rounds, int product, double flops) {
  std::vector<double> rates;
  for (const Times& times : rounds) rates.push_back(flops / times.product[product] / 1e9);
  return median(rates);
}

// One pattern of one shape, each vector with an entry a round.
struct Measured {
  double density = 0;
  int64_t weights = 0, nonzeros = 0, index_bytes = 0;
  std::vector<Times> ours;
  std::vector<std::vector<Times>> theirs;  // by peer

  // Of the fastest peer.
  double best_dense(size_t round) const {
    double best = 1e30;
    for (const std::vector<Times>& times : theirs) best = std::min(best, times[round].whole());
    return best;
  }
};

Measured measure(const SparseBenchOptions& options, const Layer& layer, const std::vector<DensePeer>& peers,
                 double density) {
  constexpr std::chrono::milliseconds kSpin{150};  // OpenBLAS: 2^26 ticks of the clock, and some more
  const LayerOperands& s = layer.operands;
  const Pattern pattern = random_pattern(s.w_OI.dim(0), s.w_OI.dim(1), options.block, density);
  const SparseProduct product(pattern);
  const Tensor values = layer.values(pattern.nonzeros());
  Stream stream;
  const std::function<void()> sparse[3] = {[&] { product.forward(s.y_TO, s.x_TI, values, stream); },
                                           [&] { product.backward_input(s.dx_TI, s.dy_TO, values, stream); },
                                           [&] { product.backward_weight(values, s.dy_TO, s.x_TI, stream); }};
  Measured measured = {.density = density,
                       .weights = s.w_OI.elements(),
                       .nonzeros = pattern.nonzeros(),
                       .index_bytes = static_cast<int64_t>(pattern.bytes() + product.index_bytes()),
                       .ours = {},
                       .theirs = std::vector<std::vector<Times>>(peers.size())};
  for (int round = -1; round < options.rounds; ++round) {  // the first one warms up
    const Times mine = time_of(sparse);
    if (round >= 0) measured.ours.push_back(mine);
    for (size_t p = 0; p < peers.size(); ++p) {
      const Times times = time_of(peers[p].products);
      if (peers[p].keeps_spinning) std::this_thread::sleep_for(kSpin);
      if (round >= 0) measured.theirs[p].push_back(times);
    }
  }
  return measured;
}

void print_row(const std::string& name, const std::vector<Times>& rounds, double flops,
               const std::string& rest) {
  fmt::print("  {:<10}", name);
  for (int i = 0; i < 3; ++i) fmt::print(" {:7.1f}", gigaflops(rounds, i, flops));
  fmt::print("  {}\n", rest);
  std::fflush(stdout);
}

void print_rows(const SparseBenchOptions& options, const Measured& measured,
                const std::vector<DensePeer>& peers) {
  std::vector<double> gains;
  for (size_t round = 0; round < measured.ours.size(); ++round)
    gains.push_back(measured.best_dense(round) / measured.ours[round].whole());
  const double tokens = static_cast<double>(options.tokens),
               nonzeros = static_cast<double>(measured.nonzeros);
  print_row(fmt::format("{:.0f} %", 100 * (1 - measured.density)), measured.ours, 2 * tokens * nonzeros,
            fmt::format("gain {:.2f}, index {:.2f} bytes a weight", median(gains),
                        static_cast<double>(measured.index_bytes) / nonzeros));
  for (size_t p = 0; p < peers.size(); ++p)
    print_row(peers[p].name, measured.theirs[p], 2 * tokens * static_cast<double>(measured.weights), "");
}

void print_json(const Measured& measured) {
  std::vector<double> ours, dense;
  for (size_t round = 0; round < measured.ours.size(); ++round) {
    ours.push_back(measured.ours[round].whole());
    dense.push_back(measured.best_dense(round));
  }
  const nlohmann::json all = {{"processor", processor_name()},
                              {"simd", simd_name(simd_level())},
                              {"threads", omp_get_max_threads()},
                              {"nonzeros", measured.nonzeros},
                              {"sparse_s", ours},
                              {"dense_s", dense}};
  fmt::print("{}\n", all.dump());
}

void print_head(const SparseBenchOptions& options) {
  fmt::print("{}, {} threads, {}, {} tokens, {}, pattern {}x{}; useful GFLOP/s of forward, dX, dW\n",
             processor_name(), omp_get_max_threads(), simd_name(simd_level()), options.tokens,
             name_of(options.dtype), options.block, options.block);
}

void run(const SparseBenchOptions& options) {
  if (!options.json) print_head(options);
  for (const auto& [outputs, inputs] : options.shapes) {
    if (!options.json) fmt::print("{}x{}\n", outputs, inputs);
    const Layer layer(options, outputs, inputs);
    const std::vector<DensePeer> peers = dense_peers(layer.operands);
    for (const double density : options.densities) {
      const Measured measured = measure(options, layer, peers, density);
      if (options.json)
        print_json(measured);
      else
        print_rows(options, measured, peers);
    }
  }
}

}  // namespace
}  // namespace fern

int main(int argc, char** argv) {
  try {
    fern::run(fern::read_sparse_bench_options(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
