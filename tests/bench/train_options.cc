#include "tests/bench/train_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <string>

namespace fern {

namespace {

// Any element type that has a name; the model says which of them it computes with.
DType dtype_named(const std::string& name) {
  std::string names;
  for (int d = 0; name_of(static_cast<DType>(d)) != "unknown"; ++d) {
    if (name_of(static_cast<DType>(d)) == name) return static_cast<DType>(d);
    names += fmt::format("{}{}", d == 0 ? "" : ", ", name_of(static_cast<DType>(d)));
  }
  fail_usage("--dtype {}: expected one of {}", name, names);
}

}  // namespace

TrainBenchOptions read_train_bench_options(int argc, char** argv) {
  TrainBenchOptions options;
  ModelConfig& model = options.model;
  std::string dtype(name_of(model.dtype));
  CLI::App program("Training speed and memory of one shape; OMP_NUM_THREADS sets the threads");
  program.add_option("--hidden", model.hidden, "model width")->capture_default_str();
  program.add_option("--layers", model.layers, "blocks")->capture_default_str();
  program.add_option("--ffn", model.ffn, "inner size of the feed-forward part")->capture_default_str();
  program.add_option("--heads", model.heads,
                     "query, key and value heads (default: one for every 64 of --hidden)");
  program.add_option("--vocabulary", model.vocabulary, "token ids")->capture_default_str();
  program.add_option("--context", model.context, "tokens of a sequence")->capture_default_str();
  program.add_option("--sequences", options.sequences, "sequences of a step")->capture_default_str();
  program.add_option("--micro-batches", options.micro_batches, "micro-batches they are cut into")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  program.add_flag("--keep-packed", options.keep_packed, "keep every weight packed, for comparison");
  program.add_option("--dtype", dtype, "f32 or bf16")->capture_default_str();
  program.add_option("--experts", model.experts.count, "experts of --ffn in every layer (default: dense)");
  program.add_option("--active", model.experts.active, "experts of a token")->capture_default_str();
  program.add_option("--sparsity", options.sparsity.sparsity,
                     "share of the weights of attention and feed-forward that do not exist");
  program.add_option("--block", options.sparsity.block, "side of their blocks (default: unstructured)")
      ->default_val(1)
      ->run_callback_for_default();
  program.add_option("--steps", options.steps, "steps to time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  program.add_flag("!--no-peak", options.measure_peak, "leave the machine's GEMM peak unmeasured");
  program.add_flag("--profile", options.profile, "say what each op took");
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& end) {
    std::exit(program.exit(end));
  }
  if (options.sequences % options.micro_batches != 0)
    fail_usage("--micro-batches {}: expected a divisor of --sequences {}", options.micro_batches,
               options.sequences);
  model.dtype = dtype_named(dtype);
  if (model.heads == 0) model.heads = std::max<int64_t>(1, model.hidden / 64);
  model.kv_heads = model.heads;
  if (options.sparsity.sparsity > 0) options.sparsity.method = SparsityMethod::kStatic;
  if (options.sparsity.block > 1) options.sparsity.pattern = PatternKind::kBlock;
  return options;
}

}  // namespace fern
