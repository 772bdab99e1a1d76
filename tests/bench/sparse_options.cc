#include "tests/bench/sparse_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

namespace fern {

namespace {

std::pair<int64_t, int64_t> shape_named(const std::string& text) {
  const size_t cross = text.find('x');
  if (cross == std::string::npos) throw CLI::ValidationError("--shapes", "expected OUTPUTSxINPUTS: " + text);
  return {std::stoll(text.substr(0, cross)), std::stoll(text.substr(cross + 1))};
}

}  // namespace

SparseBenchOptions read_sparse_bench_options(int argc, char** argv) {
  SparseBenchOptions options;
  std::string dtype = "f32";
  std::vector<std::string> shapes = {"2048x512", "512x2048", "512x512", "3072x3072"};
  CLI::App program("Sparse products beside dense ones; OMP_NUM_THREADS sets the threads");
  program.add_option("--pattern", options.block, "1 for unstructured, or the side of the blocks")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  program.add_option("--dtype", dtype, "of the activations")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  program.add_option("--shapes", shapes, "OUTPUTSxINPUTS")->delimiter(',')->capture_default_str();
  program.add_option("--densities", options.densities, "shares of the weights that exist")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  program.add_option("--tokens", options.tokens, "of one call")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  program.add_option("--rounds", options.rounds, "of each product; medians are printed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  program.add_flag("--json", options.json, "print seconds of all three products as JSON, a line a density");
  try {
    program.parse(argc, argv);
    for (const std::string& shape : shapes) options.shapes.push_back(shape_named(shape));
  } catch (const CLI::ParseError& end) {
    std::exit(program.exit(end));
  }
  options.dtype = dtype == "bf16" ? DType::kBF16 : DType::kF32;
  return options;
}

}  // namespace fern
