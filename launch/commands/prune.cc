// fern prune: a dense checkpoint made sparse at once.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>
#include <regex>

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

// The value of that name, where the option takes it: `names` are all, in the order of the enum.
template <typename Enum, size_t kCount>
Enum named(std::string_view option, const std::string& name,
           const std::array<std::string_view, kCount>& names, const std::vector<std::string_view>& taken) {
  if (std::ranges::count(taken, name) == 0)
    fail_usage("{} {}: expected one of {}{}", option, name, fmt::join(taken, ", "),
               did_you_mean(name, taken));
  return static_cast<Enum>(std::ranges::find(names, name) - names.begin());
}

SparsityConfig config_of(const Options& options) {
  SparsityConfig config = options.config;
  config.method = named<SparsityMethod>("--method", options.method, kMethodNames, {"magnitude", "random"});
  config.pattern = named<PatternKind>("--pattern", options.pattern, kPatternNames,
                                      {"unstructured", "block", "fan_in", "n_of_m"});
  config.distribution = named<Distribution>("--distribution", options.distribution, kDistributionNames,
                                            {kDistributionNames.begin(), kDistributionNames.end()});
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
  const SparsityConfig& config = options.config;
  if (options.pattern == "n_of_m" && options.is_sparsity_given && options.sparsity == 0)
    fail_usage("--sparsity 0: expected the share that --n {} and --m {} mean; or leave it out", config.n,
               config.m);
  if (config.global && (options.pattern == "fan_in" || options.pattern == "n_of_m"))
    fail_usage(
        "--global: expected --pattern unstructured or block with it, got {}, whose rows keep their counts",
        options.pattern);
}

// What `work` returns. Where a message names settings by their keys in a recipe, the options say the same
// here.
template <typename Work>
auto with_options(const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    static const std::regex key(R"(sparsity\.(sparsity|distribution|pattern|block|n|m)\b)");
    static const std::regex value("(--[a-z]+) = ");
    const std::string named = std::regex_replace(std::string(error.what()), key, "--$1");
    throw Error(error.code(), std::regex_replace(named, value, "$1 "));
  }
}

std::vector<SparseRun> patterns_of(const Options& options, const SparsityConfig& config,
                                   const Parameters& dense) {
  std::vector<SparseRun> runs = pruned_patterns(config, dense, options.seed);
  int64_t kept = 0, all = 0;
  for (const SparseRun& run : runs) {
    kept += run.pattern.nonzeros();
    all += run.pattern.rows() * run.pattern.columns();
  }
  if (kept < all) return runs;
  if (config.pattern == PatternKind::kNm)
    fail_usage("--n {}: expected fewer than --m {}, so that some of {} weights go", config.n, config.m, all);
  fail_usage("--sparsity {}: expected a share that removes at least one of {} {}, got one that removes none",
             options.sparsity, all / config.block_shape().elements(),
             config.pattern == PatternKind::kBlock ? "blocks" : "weights");
}

ExitCode run_prune(const Options& options) {
  const SparsityConfig config = config_of(options);
  with_options([&] { validate(config, 0); });
  const auto source = load_source(options.source, options.out);
  if (!source->manifest.topology_hash.empty())
    fail_usage(
        "{}: it is sparse already ({} of {} weights exist); fern densify makes it dense, to be pruned again",
        source->checkpoint.string(), source->manifest.nonzeros, source->manifest.parameters);
  const Parameters& dense = source->model.parameters();
  Transformer model(source->model.config());
  model.parameters().set_patterns(with_options([&] { return patterns_of(options, config, dense); }));
  const Arena arena =
      sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); });
  copy_weights(model.parameters(), dense);
  print_densities(model.parameters());
  const Manifest saved = save_weights(options.out, *source, model.parameters());
  fmt::print("topology_hash {}\n", saved.topology_hash);
  return ExitCode::kDone;
}

void declare_pattern(CLI::App& command, Options& options) {
  const CLI::Range counts(1, 1024);  // as sparsity.block, n and m
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
      ->capture_default_str()
      ->check(counts);
  command.add_option("--n", options.config.n, "weights that stay of every --m, for --pattern n_of_m")
      ->capture_default_str()
      ->check(counts);
  command.add_option("--m", options.config.m, "neighbours in a row, for --pattern n_of_m")
      ->capture_default_str()
      ->check(counts);
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
  command->add_option("--out", options->out, "folder of its own (no run) that step-NNNNNN is written into")
      ->required();
  declare_pattern(*command, *options);
  command->add_flag("--embedding", options->config.embedding,
                    "make the embedding sparse too, and a head that is tied to it");
  command->add_flag("--head", options->config.head, "make the output head sparse too");
  command->add_option("--seed", options->seed, "of --method random")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{0}, uint64_t{std::numeric_limits<int64_t>::max()}));  // as train.seed
  command->footer("model.weights = \"DIR\" in a recipe goes on training from it; fern export writes it out");
  command->callback([&run, options, command] {
    expect_used(*command, *options);
    run = [options](Communicator&) { return run_prune(*options); };
  });
}

}  // namespace fern
