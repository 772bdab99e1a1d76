#include "framework/sparsity/block_product.h"

#include <omp.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "framework/ops/scratch.h"
#include "framework/sparsity/ceiling.h"

namespace fern {

namespace {

// Outputs whose strips a thread makes at once for dW.
constexpr int64_t kStripOutputs = 64;

// Up to so many tokens of bf16, rounding the weights would cost more than it saves.
constexpr int64_t kUnroundedTokens = 16;

// Weights of more bytes are read once for kBlockTokens tokens. Fewer of them a cache keeps meanwhile, and
// what it should keep instead are the inputs, of as few tokens as are summed at once.
constexpr int64_t kManyBytes = int64_t{8} << 20;

template <typename T>
int64_t tokens_of_task(const Pattern& pattern) {
  const int64_t bytes = pattern.nonzeros() * static_cast<int64_t>(sizeof(T));
  return bytes > kManyBytes ? kBlockTokens : block_kernels<T>(simd_level()).sum_tokens;
}

// One task makes some outputs of `task_tokens` tokens: all of them, unless there would be fewer tasks than
// threads. `room` is for all threads.
template <typename T, typename Product>
void run_tasks(T* y_TO, const T* x_TI, int64_t x_stride, const BlockRuns& w, int64_t tokens,
               int64_t task_tokens, const Product& product, float* room) {
  const int64_t tiles = ceiling(tokens, task_tokens), groups = ceiling(w.outputs, kBlockOutputs);
  const int64_t part_groups = ceiling(groups, std::min(ceiling(omp_get_max_threads(), tiles), groups));
  const int64_t parts = ceiling(groups, part_groups), part = part_groups * kBlockOutputs;
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < tiles * parts; ++task) {
    const int64_t token = task / parts * task_tokens, first = task % parts * part;
    const int64_t count = std::min(tokens - token, task_tokens);
    product({y_TO + token * w.outputs, w.outputs, count}, {x_TI + token * x_stride, x_stride, count}, w,
            first, std::min(first + part, w.outputs),
            room + omp_get_thread_num() * block_product_room(w.inputs));
  }
}

int64_t product_room(int64_t inputs) { return omp_get_max_threads() * block_product_room(inputs); }

// w with the words, of `per_word` inputs each, that arrange(first, last) writes of those blocks: kBlockStep
// outputs together for every word.
template <typename Arrange>
BlockRuns arranged(const BlockRuns& w, int64_t blocks, int64_t per_word, const float* words,
                   const Arrange& arrange) {
  constexpr int64_t kChunk = 256;
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < blocks; block += kChunk) arrange(block, std::min(block + kChunk, blocks));
  BlockRuns runs = w;
  runs.inputs /= per_word, runs.block_inputs /= per_word;
  runs.output_step = 1, runs.input_step = kBlockStep;
  runs.words = words;
  return runs;
}

// Blocks [first, last) in `order`, of columns: fours of a row become one after another.
void arrange_columns(float* to, const BlockRuns& columns, const uint32_t* order, int64_t first,
                     int64_t last) {
  const int64_t elements = columns.block_outputs * columns.block_inputs;
  to += first * elements;
  for (int64_t i = first; i < last; ++i)
    for (int64_t output = 0; output < columns.block_outputs; output += kBlockStep)
      for (int64_t input = 0; input < columns.block_inputs; ++input, to += kBlockStep)
        std::copy_n(columns.words + order[i] * elements + input * columns.input_step + output, kBlockStep,
                    to);
}

// y = x w^T. Blocks of w are rows in their own order, whose words are read where they lie, or columns in
// `order`, which are arranged before; for many tokens of bf16 both are rounded.
template <typename T>
void run_product(T* y_TO, const T* x_TI, const BlockRuns& w, const uint32_t* order, const Pattern& pattern,
                 int64_t tokens) {
  if (tokens * w.outputs == 0) return;
  const SimdLevel level = simd_level();
  const int64_t task_tokens = tokens_of_task<T>(pattern);
  if constexpr (std::is_same_v<T, BF16>) {
    if (tokens > kUnroundedTokens) {
      const BlockPairKernels& kernels = block_pair_kernels(level);
      const int64_t room = product_room(w.inputs / 2);
      float *memory = thread_scratch<float>(room + pattern.nonzeros() / 2), *pairs = memory + room;
      const BlockRuns rounded = arranged(w, pattern.blocks(), 2, pairs, [&](int64_t first, int64_t last) {
        kernels.pack(pairs, w, order, first, last);
      });
      return run_tasks(y_TO, x_TI, w.inputs, rounded, tokens, task_tokens, kernels.product, memory);
    }
  }
  const auto product = block_kernels<T>(level).product;
  const int64_t room = product_room(w.inputs);
  if (order == nullptr)
    return run_tasks(y_TO, x_TI, w.inputs, w, tokens, task_tokens, product, thread_scratch<float>(room));
  float *memory = thread_scratch<float>(room + pattern.nonzeros()), *words = memory + room;
  const BlockRuns columns = arranged(w, pattern.blocks(), 1, words, [&](int64_t first, int64_t last) {
    arrange_columns(words, w, order, first, last);
  });
  run_tasks(y_TO, x_TI, w.inputs, columns, tokens, task_tokens, product, memory);
}

// How dW goes through the tokens. A step is few enough words of tokens that the inputs' strips stay in the
// second cache, and enough that a block pays for fetching its gradient. Threads make the strips of a chunk of
// steps together, and then meet no more until it is done.
struct GradientSteps {
  explicit GradientSteps(int64_t inputs, int64_t tokens, int64_t per_word) {
    constexpr int64_t kStepFloats = 256 * 1024, kChunkFloats = 2048 * 1024;
    words = std::clamp<int64_t>(kStepFloats / inputs / 64 * 64, 128, 256);
    const int64_t fitting = std::max<int64_t>(kChunkFloats / (inputs * words), 1);
    steps = std::min(fitting, ceiling(tokens, words * per_word));
    chunk_tokens = steps * words * per_word;
  }
  int64_t words, steps, chunk_tokens;
};

// Thread `index` of `count` has the rows from the result to that of the next index: about as many blocks as
// the others.
int64_t first_row_of_thread(const Pattern& pattern, int64_t index, int64_t count) {
  const auto begin = pattern.row_begin();
  const int64_t before = pattern.blocks() * index / count;
  return (std::lower_bound(begin.begin(), begin.end(), before) - begin.begin()) * pattern.block().rows;
}

// One step for outputs [first, last); `dy_strips` is for kStripOutputs outputs.
template <typename T>
void add_step(float* dvalues_N, float* dy_strips, const float* x_strips, TokenRows<const T> dy, int64_t words,
              const BlockRuns& runs, int64_t first, int64_t last) {
  const BlockKernels<T>& kernels = block_kernels<T>(simd_level());
  for (int64_t output = first; output < last; output += kStripOutputs) {
    const int64_t end = std::min(output + kStripOutputs, last);
    kernels.fill_strips(dy_strips, {dy.data + output, dy.stride, dy.tokens}, end - output, 0, words, words);
    kernels.add_gradient(dvalues_N, dy_strips, x_strips, runs, output, end, words);
  }
}

}  // namespace

bool BlockProduct::handles(const Pattern& pattern) {
  const BlockShape block = pattern.block();
  return block.rows % kBlockStep == 0 && block.columns % kBlockStep == 0 &&
         pattern.block_rows() <= std::numeric_limits<uint16_t>::max() + 1 &&
         pattern.blocks() <= std::numeric_limits<uint32_t>::max();
}

BlockProduct::BlockProduct(const Pattern& pattern)
    : pattern_(&pattern),
      column_begin_(static_cast<size_t>(pattern.block_columns()) + 1),
      rows_(static_cast<size_t>(pattern.blocks())),
      blocks_(static_cast<size_t>(pattern.blocks())) {
  for (const uint16_t column : pattern.column_index()) ++column_begin_[size_t{column} + 1];
  for (size_t c = 1; c < column_begin_.size(); ++c) column_begin_[c] += column_begin_[c - 1];
  std::vector<int64_t> next(column_begin_.begin(), column_begin_.end() - 1);
  uint32_t block = 0;
  for (int64_t row = 0; row < pattern.block_rows(); ++row)
    for (const uint16_t column : pattern.row(row)) {
      const auto at = static_cast<size_t>(next[column]++);
      rows_[at] = static_cast<uint16_t>(row);
      blocks_[at] = block++;
    }
}

BlockRuns BlockProduct::runs_of_rows(const float* values_N) const {
  return {.outputs = pattern_->rows(),
          .inputs = pattern_->columns(),
          .block_outputs = pattern_->block().rows,
          .block_inputs = pattern_->block().columns,
          .run_begin = pattern_->row_begin().data(),
          .input = pattern_->column_index().data(),
          .output_step = pattern_->block().columns,
          .input_step = 1,
          .words = values_N};
}

BlockRuns BlockProduct::runs_of_columns(const float* values_N) const {
  return {.outputs = pattern_->columns(),
          .inputs = pattern_->rows(),
          .block_outputs = pattern_->block().columns,
          .block_inputs = pattern_->block().rows,
          .run_begin = column_begin_.data(),
          .input = rows_.data(),
          .output_step = 1,
          .input_step = pattern_->block().columns,
          .words = values_N};
}

template <typename T>
void BlockProduct::forward(T* y_TO, const T* x_TI, const float* values_N, int64_t tokens) const {
  run_product(y_TO, x_TI, runs_of_rows(values_N), nullptr, *pattern_, tokens);
}

template <typename T>
void BlockProduct::backward_input(T* dx_TI, const T* dy_TO, const float* values_N, int64_t tokens) const {
  run_product(dx_TI, dy_TO, runs_of_columns(values_N), blocks_.data(), *pattern_, tokens);
}

// Threads share the strips of x, and each makes those of dy for its own rows.
template <typename T>
void BlockProduct::backward_weight(float* dvalues_N, const T* dy_TO, const T* x_TI, int64_t tokens) const {
  constexpr int64_t kPerWord = sizeof(float) / sizeof(T);
  const BlockKernels<T>& kernels = block_kernels<T>(simd_level());
  const int64_t outputs = pattern_->rows(), inputs = pattern_->columns();
  const GradientSteps plan(inputs, tokens, kPerWord);
  const int64_t step = plan.words * inputs;
  const BlockRuns runs = runs_of_rows(nullptr);
  float* x_strips =
      thread_scratch<float>(plan.steps * step + kStripOutputs * plan.words * omp_get_max_threads());
#pragma omp parallel
  for (int64_t token = 0; token < tokens; token += plan.chunk_tokens) {
    const int64_t count = std::min(plan.chunk_tokens, tokens - token);
    const int64_t lines = ceiling(count, kPerWord * kStripStep), of_step = plan.words / kStripStep;
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
#pragma omp for schedule(static)
    for (int64_t line = 0; line < lines; ++line) {
      const int64_t first = line / of_step * of_step, word = (line - first) * kStripStep;
      const int64_t begin = token + first * kStripStep * kPerWord;
      kernels.fill_strips(x_strips + line / of_step * step, {x_TI + begin * inputs, inputs, tokens - begin},
                          inputs, word, word + kStripStep, std::min(of_step, lines - first) * kStripStep);
    }
    for (int64_t first = 0; first < lines; first += of_step) {
      const int64_t begin = token + first * kStripStep * kPerWord;
      add_step<T>(dvalues_N, x_strips + plan.steps * step + thread * kStripOutputs * plan.words,
                  x_strips + first / of_step * step, {dy_TO + begin * outputs, outputs, tokens - begin},
                  std::min(of_step, lines - first) * kStripStep, runs,
                  first_row_of_thread(*pattern_, thread, threads),
                  first_row_of_thread(*pattern_, thread + 1, threads));
    }
#pragma omp barrier
  }
}

size_t BlockProduct::index_bytes() const {
  return column_begin_.size() * sizeof(column_begin_[0]) + rows_.size() * sizeof(rows_[0]) +
         blocks_.size() * sizeof(blocks_[0]);
}

template void BlockProduct::forward(float*, const float*, const float*, int64_t) const;
template void BlockProduct::forward(BF16*, const BF16*, const float*, int64_t) const;
template void BlockProduct::backward_input(float*, const float*, const float*, int64_t) const;
template void BlockProduct::backward_input(BF16*, const BF16*, const float*, int64_t) const;
template void BlockProduct::backward_weight(float*, const float*, const float*, int64_t) const;
template void BlockProduct::backward_weight(float*, const BF16*, const BF16*, int64_t) const;

}  // namespace fern
