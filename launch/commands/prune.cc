// fern prune: a dense checkpoint made sparse at once.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "framework/train/pruned_model.h"
#include "launch/commands.h"
#include "launch/saved_weights.h"
#include "recipes/suggest.h"

namespace fern {

namespace {

struct Options {
  std::string source, out, method = "magnitude", pattern = "unstructured", distribution = "uniform";
  double sparsity = 0.9;
  bool is_sparsity_given = false;
  uint64_t seed = 1;
  SparsityConfig config;
};

template <typename Enum, size_t kCount>
Enum named(std::string_view option, const std::string& name,
           const std::array<std::string_view, kCount>& names) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end())
    fail_usage("{} {}: expected one of {}{}", option, name, fmt::join(names, ", "),
               did_you_mean(name, {names.begin(), names.end()}));
  return static_cast<Enum>(found - names.begin());
}

SparsityConfig config_of(const Options& options) {
  SparsityConfig config = options.config;
  config.method = named<SparsityMethod>("--method", options.method, kMethodNames);
  config.pattern = named<PatternKind>("--pattern", options.pattern, kPatternNames);
  config.distribution = named<Distribution>("--distribution", options.distribution, kDistributionNames);
  const bool by_rule = config.pattern == PatternKind::kNm && !options.is_sparsity_given;
  config.sparsity = by_rule ? 0 : options.sparsity;
  return config;
}

void print_densities(const Parameters& parameters) {
  fmt::print("{:<44} {:>14} {:>12} {:>9}\n", "matrix", "shape", "weights", "density");
  int64_t nonzeros = 0, all = 0;
  for (const Parameter& parameter : parameters.list()) {
    if (!parameter.sparse) continue;
    const int64_t elements = parameter.shape.elements();
    fmt::print("{:<44} {:>14} {:>12} {:>9.4f}\n", parameter.name,
               fmt::format("{} x {}", parameter.shape[0], parameter.shape[1]), parameter.nonzeros,
               static_cast<double>(parameter.nonzeros) / static_cast<double>(elements));
    nonzeros += parameter.nonzeros;
    all += elements;
  }
  fmt::print("{:<44} {:>14} {:>12} {:>9.4f}\n", "all sparse matrices", all, nonzeros,
             static_cast<double>(nonzeros) / static_cast<double>(all));
  fmt::print("{:<44} {:>14} {:>12} {:>9.4f}\n", "the model", parameters.dense_elements(),
             parameters.elements(),
             static_cast<double>(parameters.elements()) / static_cast<double>(parameters.dense_elements()));
}

// An option that the pattern does not read was meant to do something.
void expect_used(const CLI::App& command, const Options& options) {
  const auto expect_pattern = [&](const char* option, std::string_view pattern) {
    if (command.count(option) > 0 && options.pattern != pattern)
      fail_usage("{}: expected --pattern {} with it, got {}", option, pattern, options.pattern);
  };
  expect_pattern("--block", "block");
  expect_pattern("--n", "n_of_m");
  expect_pattern("--m", "n_of_m");
}

ExitCode run_prune(const Options& options) {
  const SparsityConfig config = config_of(options);
  const auto source = load_model(options.source);
  if (!source->manifest.topology_hash.empty())
    fail_usage(
        "{}: it is sparse already ({} of {} weights exist); fern densify makes it dense, to be pruned again",
        source->checkpoint.string(), source->manifest.nonzeros, source->manifest.parameters);
  const Parameters& dense = source->model.parameters();
  Transformer model(source->model.config());
  model.parameters().set_patterns(pruned_patterns(config, dense, options.seed));
  const Arena arena =
      sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); });
  copy_weights(model.parameters(), dense);
  print_densities(model.parameters());
  const Manifest saved = save_weights(options.out, *source, model.parameters());
  fmt::print("topology_hash {}\n", saved.topology_hash);
  return ExitCode::kDone;
}

void declare_pattern(CLI::App& command, Options& options) {
  command.add_option("--sparsity", options.sparsity, "share of the sparse matrices' weights that go")
      ->capture_default_str()
      ->each([&options](const std::string&) { options.is_sparsity_given = true; });
  command
      .add_option("--method", options.method, "magnitude (the smallest go), or random, to compare with it")
      ->capture_default_str();
  command
      .add_option("--pattern", options.pattern,
                  "which weights may stay together: unstructured, block, fan_in, n_of_m")
      ->capture_default_str();
  command.add_option("--block", options.config.block, "side of a block, for --pattern block")
      ->capture_default_str();
  command.add_option("--n", options.config.n, "weights that stay of every --m, for --pattern n_of_m")
      ->capture_default_str();
  command.add_option("--m", options.config.m, "neighbours in a row, for --pattern n_of_m")
      ->capture_default_str();
  command
      .add_option("--distribution", options.distribution,
                  "how what stays is shared out over matrices: uniform, erdos_renyi")
      ->capture_default_str();
  command.add_flag("--global", options.config.global, "choose across all matrices instead of in each");
}

}  // namespace

void declare_prune(CLI::App& program, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand(
      "prune",
      "Makes a dense checkpoint sparse at once (attention and feed-forward), by magnitude or at random; "
      "writes a checkpoint of weights only");
  command
      ->add_option("SOURCE", options->source,
                   "a run (its newest valid checkpoint), a checkpoint, or a folder of fern import")
      ->required();
  command->add_option("--out", options->out, "folder that step-NNNNNN is written into")->required();
  declare_pattern(*command, *options);
  command->add_flag("--embedding", options->config.embedding,
                    "make the embedding sparse too, and a head that is tied to it");
  command->add_flag("--head", options->config.head, "make the output head sparse too");
  command->add_option("--seed", options->seed, "of --method random")->capture_default_str();
  command->footer("model.weights = \"DIR\" in a recipe goes on training from it; fern export writes it out");
  command->callback([&run, options, command] {
    expect_used(*command, *options);
    run = [options](Communicator&) { return run_prune(*options); };
  });
}

}  // namespace fern
