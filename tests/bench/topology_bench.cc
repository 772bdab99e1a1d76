// What a topology update of RigL costs beside one dense gradient of a weight: the gradient streamed in tiles
// of rows, its scores, and the choice of blocks. 2048 tokens, f32, 90 % sparse; medians of interleaved runs,
// in processor time of all threads, which other programs change little (set OMP_WAIT_POLICY=passive). Usage:
// bench_topology [REPETITIONS]
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "framework/core/rng.h"
#include "framework/ops/linear.h"
#include "framework/sparsity/method.h"
#include "tests/bench/machine.h"

namespace {

using namespace fern;

constexpr int64_t kTokens = 2048, kTileRows = 128, kStep = 100;

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

double now_ms() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

template <typename Work>
double timed_ms(const Work& work) {
  const double start_ms = now_ms();
  work();
  return now_ms() - start_ms;
}

std::vector<float> random_values(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(random_uniform(seed, Purpose::kTest, i)) - 0.5f;
  return values;
}

MethodSetup setup_of(PatternKind pattern, int64_t block, int64_t rows, int64_t columns) {
  MethodSetup setup;
  setup.config.method = SparsityMethod::kRigl;
  setup.config.pattern = pattern;
  setup.config.block = block;
  setup.config.sparsity = pattern == PatternKind::kNm ? 0 : 0.9;
  setup.weights = {{"w", rows, columns, setup.config.block_shape()}};
  setup.train_steps = 10000;
  return setup;
}

class Bench {
 public:
  Bench(int64_t rows, int64_t columns, int repetitions)
      : rows_(rows),
        columns_(columns),
        repetitions_(repetitions),
        x_(random_values(kTokens * columns, 1)),
        dy_(random_values(kTokens * rows, 2)),
        dw_(static_cast<size_t>(rows * columns)),
        tile_(static_cast<size_t>(kTileRows * columns)) {}

  void print(PatternKind pattern, int64_t block) {
    const auto method = make_method(setup_of(pattern, block, rows_, columns_));
    const Pattern now = method->initial(0);
    const std::vector<float> values = random_values(now.nonzeros(), 3);
    GrowthScores scores = std::move(method->growth_scores(std::vector<size_t>{0})[0]);
    std::vector<double> dense, product, scoring, choice, ratio;
    for (int i = 0; i <= repetitions_; ++i) {
      const double dense_ms = timed_ms([&] { dense_gradient(); });
      double product_ms = 0, scoring_ms = 0;
      scores.clear();
      for (int64_t row = 0; row < rows_; row += kTileRows) {
        product_ms += timed_ms([&] { tile_gradient(row); });
        scoring_ms += timed_ms([&] { scores.offer_rows(now, tile_.data(), row, row + kTileRows); });
      }
      const double choice_ms = timed_ms([&] { choose(*method, scores, now, values); });
      if (i == 0) continue;  // warms up
      dense.push_back(dense_ms);
      product.push_back(product_ms);
      scoring.push_back(scoring_ms);
      choice.push_back(choice_ms);
      ratio.push_back((product_ms + scoring_ms + choice_ms) / dense_ms);
    }
    fmt::print("{:>5} x {:<5} {:<12} {:>3} {:9.2f} {:9.2f} {:9.2f} {:9.2f} {:7.2f}\n", rows_, columns_,
               name_of(pattern), now.block().rows, median(dense), median(product), median(scoring),
               median(choice), median(ratio));
  }

 private:
  Tensor x() { return Tensor::of(x_.data(), {kTokens, columns_}); }
  Tensor dy() { return Tensor::of(dy_.data(), {kTokens, rows_}); }

  void dense_gradient() {
    linear_backward_weight(Tensor::of(dw_.data(), {rows_, columns_}), dy(), x(), stream_);
  }
  void tile_gradient(int64_t row) {
    std::ranges::fill(tile_, 0.0f);
    linear_backward_weight_rows(Tensor::of(tile_.data(), {kTileRows, columns_}), dy(), row, x(), stream_);
  }
  static void choose(const Method& method, const GrowthScores& scores, const Pattern& now,
                     std::span<const float> values) {
    const std::vector<Candidate> candidates = scores.candidates();
    const std::vector<WeightView> views = {{now, values, candidates}};
    method.next(kStep, 0, views[0], method.counts(kStep, views)[0]);
  }

  int64_t rows_, columns_;
  int repetitions_;
  std::vector<float> x_, dy_, dw_, tile_;
  Stream stream_;
};

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 7;
  fmt::print("{}, {} threads, {} tokens; processor ms\n{:>13} {:<12} {:>3} {:>9} {:>9} {:>9} {:>9} {:>7}\n",
             processor_name(), omp_get_max_threads(), kTokens, "weight", "pattern", "b", "dense dW",
             "tiles dW", "scores", "choice", "ratio");
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{2048, 512}, {512, 2048}, {3072, 3072}}) {
    Bench bench(rows, columns, repetitions);
    bench.print(PatternKind::kUnstructured, 1);
    bench.print(PatternKind::kBlock, 4);
    bench.print(PatternKind::kBlock, 16);
    bench.print(PatternKind::kFanIn, 1);
    bench.print(PatternKind::kNm, 1);
  }
}
