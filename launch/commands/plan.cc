#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

#include "framework/model/transformer.h"
#include "framework/train/progress.h"
#include "launch/commands.h"
#include "launch/forecast.h"
#include "launch/loaded_model.h"
#include "launch/machine.h"
#include "launch/mesh_report.h"
#include "launch/process_memory.h"
#include "launch/run_memory.h"
#include "launch/setting_warnings.h"
#include "launch/text.h"
#include "launch/training_data.h"
#include "parallel/parallelize.h"

namespace fern {

namespace {

constexpr double kBudget_s = 4;  // for measuring all layouts

struct Options {
  std::string recipe;
  std::vector<std::string> overrides;
  int ranks = 0;
  bool leaves_out_speed = false;
};

void print_memory(const std::vector<MemoryItem>& items, int ranks, size_t available_bytes) {
  fmt::print("\nmemory of each rank\n");
  for (const MemoryItem& item : items)
    fmt::print("  {:<18} {:>10}  {}\n", item.name, bytes_text(static_cast<double>(item.bytes)), item.meaning);
  const auto total = static_cast<double>(total_bytes(items));
  fmt::print("  {:<18} {:>10}  predicted peak of the resident set ({} bytes)\n", "total", bytes_text(total),
             total_bytes(items));
  fmt::print("  {:<18} {:>10}  on this machine, which has {} to give\n", fmt::format("{} rank(s)", ranks),
             bytes_text(static_cast<double>(machine_bytes(items, ranks))),
             bytes_text(static_cast<double>(available_bytes)));
}

void print_work(const ModelConfig& model, const Recipe& recipe) {
  const double dense = training_flops_per_token(model, model.context);
  const double per_token = initial_flops_per_token(model, recipe);
  const auto positions = static_cast<double>(recipe.batch.sequences * model.context);
  const auto steps = static_cast<double>(recipe.train.steps);
  fmt::print("\nwork\n");
  fmt::print("  {:<18} {:>10}{}\n", "FLOP per token", count_text(per_token),
             per_token < dense ? fmt::format("  (dense would be {})", count_text(dense)) : "");
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

// The layouts of this machine, and the planned one where the machine has cores for it.
std::vector<Layout> layouts_to_measure(const Layout& planned, int64_t cores, int64_t reduction_shards) {
  std::vector<Layout> layouts = layouts_of(cores, reduction_shards);
  if (planned.ranks * planned.threads <= cores && std::ranges::count(layouts, planned) == 0)
    layouts.push_back(planned);
  return layouts;
}

void print_speed(std::span<const Forecast> forecasts, const Layout& planned, int64_t steps) {
  const std::optional<Layout> best = best_of(forecasts);
  fmt::print("\nspeed, from one and two layers of this model measured here\n");
  fmt::print("  {:<18} {:>10} {:>10} {:>10} {:>10}\n", "ranks x threads", "a step", "tokens/s", "the run",
             "memory");
  for (const Forecast& entry : forecasts) {
    const std::string name = fmt::format("{} x {}", entry.layout.ranks, entry.layout.threads);
    const std::string memory = bytes_text(static_cast<double>(entry.machine_bytes));
    if (!entry.fits) {
      fmt::print("  {:<18} {:>43}  does not fit, so it was not measured\n", name, memory);
      continue;
    }
    fmt::print("  {:<18} {:>8.3f} s {:>10} {:>10} {:>10}{}{}\n", name, entry.step_s,
               count_text(entry.tokens_per_second), duration_text(entry.step_s * static_cast<double>(steps)),
               memory, entry.layout == planned ? "  planned" : "",
               best && *best == entry.layout ? "  Fern would take this one" : "");
  }
  if (std::ranges::count(forecasts, planned, &Forecast::layout) == 0)
    fmt::print("  {} x {} is more than the cores of this machine, so it was not measured\n", planned.ranks,
               planned.threads);
}

ExitCode plan(const Options& options, const Communicator& communicator) {
  const Recipe recipe = read_recipe(options.recipe, options.overrides);
  if (!recipe.weights.empty()) find_checkpoint(recipe.weights);
  warn_of_settings(recipe, /*begins=*/true);
  const int ranks = options.ranks > 0 ? options.ranks
                                      : static_cast<int>(std::max(recipe.mesh.expert, recipe.mesh.data) *
                                                         std::max<int64_t>(1, recipe.mesh.pipeline) *
                                                         std::max<int64_t>(1, recipe.mesh.tensor) *
                                                         std::max<int64_t>(1, recipe.mesh.context));
  const Mesh mesh = resolve(recipe.mesh, ranks, recipe.batch.reduction_shards, recipe.model.layers);
  std::optional<TrainingData> data;
  if (TrainingData::is_prepared(recipe)) data.emplace(recipe);
  ModelConfig config = recipe.model;
  config.vocabulary = data ? data->tokenizer().vocabulary() : recipe.tokenizer.vocabulary;

  const int64_t threads = threads_per_rank(recipe.threads, ranks);
  const Transformer model(config);
  fmt::print("{}: {}, vocabulary {}; {} rank(s), {} thread(s) each, zero {}\n", recipe.name(),
             parameters_text(model.parameters().elements(), model.parameters().active_elements()),
             config.vocabulary, ranks, threads, mesh.zero);
  omp_set_num_threads(static_cast<int>(threads));
  const bool adds_mpi = ranks > 1 && communicator.size() == 1;
  const size_t process_bytes = working_process_bytes(config, recipe);
  std::vector<MemoryItem> items =
      memory_of_rank(largest_arenas(config, recipe, mesh), config, mesh, process_bytes);
  if (adds_mpi) items.push_back({"MPI", kMpi_bytes, "what it adds to a process"});
  const size_t available = available_memory_bytes();
  print_memory(items, ranks, available);
  if (mesh.ranks() > 1) fmt::print("\n");
  for (const std::string& line : mesh_report(config, recipe, mesh)) fmt::print("{}\n", line);
  print_work(config, recipe);
  if (data)
    print_languages(*data, recipe);
  else
    fmt::print("\n{} is not prepared yet: fern prepare {} tells languages, tokens and epochs\n",
               recipe.data.folder, options.recipe);
  expect_fits(items, ranks, available);
  if (mesh.pipeline > 1 || mesh.tensor > 1 || mesh.context > 1 || mesh.expert > 1 || releases_gradients(mesh))
    fmt::print(
        "\nthe speed of stages, of shares, and of exchanging each shard's gradients is not measured here; "
        "with parallel.pipeline, parallel.tensor, parallel.context and parallel.expert = 1, and "
        "parallel.zero "
        "= 1 or 0, that of data parallel is\n");
  else if (!options.leaves_out_speed) {
    const Layout planned{ranks, threads};
    const std::vector<Layout> layouts =
        layouts_to_measure(planned, machine_cores(), recipe.batch.reduction_shards);
    print_speed(
        forecast(layouts, config, recipe, data ? &*data : nullptr, process_bytes, available, kBudget_s),
        planned, recipe.train.steps);
  }
  return ExitCode::kDone;
}

}  // namespace

void declare_plan(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "plan",
      "Says what a recipe would take: memory by name, FLOPs, step time, tokens and epochs per language; runs "
      "nothing of it");
  auto options = std::make_shared<Options>();
  command->add_option("recipe", options->recipe, "the recipe")->required()->option_text("RECIPE");
  command->add_option("--set", options->overrides, "override a key of the recipe; may be repeated")
      ->allow_extra_args(false)
      ->option_text("SECTION.KEY=VALUE");
  command->add_option("--ranks", options->ranks, "ranks on this machine (default: parallel.data, or 1)")
      ->check(CLI::Range(1, 1 << 20))
      ->option_text("N");
  command->add_flag("--no-calibration", options->leaves_out_speed,
                    "leave out what takes measuring: the speed");
  command->footer(
      "The memory is the peak of the resident set of each rank, and a run that does not fit is refused here "
      "as\n"
      "by fern train. The speed is measured in some seconds, on an idle machine best: one and two layers of "
      "the\n"
      "model are trained at the recipe's sizes, once for each way to share this machine's cores (as many "
      "ranks\n"
      "at once), and added up for all layers. Saving is not counted.");
  command->callback([&run, options] {
    run = [options](Communicator& communicator) {
      return communicator.rank() == 0 ? plan(*options, communicator) : ExitCode::kDone;
    };
  });
}

}  // namespace fern
