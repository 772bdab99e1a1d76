#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

#include "framework/model/transformer.h"
#include "launch/commands.h"
#include "launch/machine.h"
#include "launch/run_memory.h"
#include "launch/text.h"
#include "launch/training_data.h"

namespace fern {

namespace {

struct Options {
  std::string recipe;
  std::vector<std::string> overrides;
  int ranks = 0;
};

void print_memory(const std::vector<MemoryItem>& items, int ranks, size_t available_bytes) {
  fmt::print("\nmemory of each rank\n");
  for (const MemoryItem& item : items)
    fmt::print("  {:<18} {:>10}  {}\n", item.name, bytes_text(static_cast<double>(item.bytes)), item.meaning);
  const auto total = static_cast<double>(total_bytes(items));
  fmt::print("  {:<18} {:>10}  predicted peak of the resident set ({} bytes)\n", "total", bytes_text(total),
             total_bytes(items));
  fmt::print("  {:<18} {:>10}  on this machine, which has {} to give\n", fmt::format("{} rank(s)", ranks),
             bytes_text(total * ranks), bytes_text(static_cast<double>(available_bytes)));
}

void print_work(const ModelConfig& model, const Recipe& recipe) {
  const double per_token = training_flops_per_token(model, model.context);
  const auto positions = static_cast<double>(recipe.batch.sequences * model.context);
  const auto steps = static_cast<double>(recipe.train.steps);
  fmt::print("\nwork\n");
  fmt::print("  {:<18} {:>10}\n", "FLOP per token", count_text(per_token));
  fmt::print("  {:<18} {:>10}  {} positions\n", "FLOP per step", count_text(per_token * positions),
             positions);
  fmt::print("  {:<18} {:>10}  {} steps\n", "FLOP of the run", count_text(per_token * positions * steps),
             steps);
}

void print_languages(const TrainingData& data, const Recipe& recipe) {
  const std::vector<int64_t> drawn = data.sampler().counts_after(recipe.train.steps * recipe.batch.sequences);
  std::vector<size_t> order(drawn.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t l) { return drawn[l]; });
  fmt::print("\n{} languages, by the balance rule\n", order.size());
  fmt::print("  {:<14} {:>10} {:>9} {:>12} {:>8}\n", "language", "tokens", "share", "drawn tokens", "epochs");
  for (const size_t l : order) {
    const LanguageData& language = data.languages()[l];
    const double epochs = static_cast<double>(drawn[l]) / static_cast<double>(language.sequences());
    fmt::print("  {:<14} {:>10} {:>8.3f}% {:>12} {:>8.2f}\n", language.language(), language.tokens(),
               100 * data.sampler().shares()[l], count_text(epochs * static_cast<double>(language.tokens())),
               epochs);
  }
}

ExitCode plan(const Options& options) {
  const Recipe recipe = read_recipe(options.recipe, options.overrides);
  const int ranks =
      options.ranks > 0 ? options.ranks : static_cast<int>(std::max<int64_t>(1, recipe.mesh.data));
  const Mesh mesh = resolve(recipe.mesh, ranks, recipe.batch.reduction_shards);
  std::optional<TrainingData> data;
  if (TrainingData::is_prepared(recipe)) data.emplace(recipe);
  ModelConfig config = recipe.model;
  config.vocabulary = data ? data->tokenizer().vocabulary() : recipe.tokenizer.vocabulary;

  const int64_t threads = threads_per_rank(recipe.threads, ranks);
  const Transformer model(config);
  fmt::print("{}: {} parameters, vocabulary {}; {} rank(s), {} thread(s) each, zero {}\n", recipe.name(),
             count_text(static_cast<double>(model.parameters().elements())), config.vocabulary, ranks,
             threads, mesh.zero);
  omp_set_num_threads(static_cast<int>(threads));
  const size_t mapped = data ? data->touched_bytes(recipe.train.steps) : 0;
  const std::vector<MemoryItem> items =
      memory_of_rank(measure_arenas(config, recipe, mesh), config, mesh, working_process_bytes(), mapped);
  const size_t available = available_memory_bytes();
  print_memory(items, ranks, available);
  print_work(config, recipe);
  if (data)
    print_languages(*data, recipe);
  else
    fmt::print("\n{} is not prepared yet: fern prepare {} tells languages, tokens and epochs\n",
               recipe.data.folder, options.recipe);
  expect_fits(items, ranks, available);
  return ExitCode::kDone;
}

}  // namespace

void declare_plan(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "plan",
      "Says what a recipe would take: memory by name, FLOPs, tokens and epochs per language; runs nothing");
  auto options = std::make_shared<Options>();
  command->add_option("recipe", options->recipe, "the recipe")->required()->option_text("RECIPE");
  command->add_option("--set", options->overrides, "override a key of the recipe; may be repeated")
      ->allow_extra_args(false)
      ->option_text("SECTION.KEY=VALUE");
  command->add_option("--ranks", options->ranks, "ranks on this machine (default: parallel.data, or 1)")
      ->check(CLI::Range(1, 1 << 20))
      ->option_text("N");
  command->callback([&run, options] {
    run = [options](Communicator& communicator) {
      return communicator.rank() == 0 ? plan(*options) : ExitCode::kDone;
    };
  });
}

}  // namespace fern
