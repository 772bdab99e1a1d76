#include <fmt/format.h>
#include <omp.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>
#include <optional>

#include "launch/affinity.h"
#include "launch/commands.h"
#include "launch/machine.h"
#include "launch/process_memory.h"
#include "launch/product_report.h"
#include "launch/run_lock.h"
#include "launch/run_log.h"
#include "launch/run_memory.h"
#include "launch/run_profile.h"
#include "launch/run_state.h"
#include "launch/setting_warnings.h"
#include "launch/stop_signals.h"
#include "launch/text.h"
#include "launch/training_data.h"
#include "launch/training_run.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Options {
  std::string recipe, out, profile;
  int most_ranks = 0;  // 0: train
  std::vector<std::string> overrides;
};

// One `fern train` on one rank.
class TrainCommand {
 public:
  TrainCommand(const Options& options, Communicator& communicator)
      : communicator_(communicator),
        recipe_(read_recipe(options.recipe, options.overrides)),
        folder_(options.out.empty() ? fs::path("runs") / recipe_.name() : fs::path(options.out)),
        mesh_(
            resolve(recipe_.mesh, communicator.size(), recipe_.batch.reduction_shards, recipe_.model.layers)),
        threads_(threads_per_rank(recipe_.threads, communicator.local_size())) {
    if (!options.profile.empty()) profile_.emplace(profiled_steps(options.profile));
  }

  ExitCode run() {
    const StopSignals signals;
    pulse_ = communicator_.watch(recipe_.stall_s);
    own_cores_ = take_own_cores(communicator_.local_rank(), communicator_.local_size(), threads_);
    omp_set_num_threads(static_cast<int>(threads_));
    const TrainingData data(recipe_);
    ModelConfig model = recipe_.model;
    model.vocabulary = data.tokenizer().vocabulary();
    std::optional<RunLock> lock;
    if (communicator_.rank() == 0 && fs::exists(folder_)) lock.emplace(folder_);
    const std::optional<fs::path> checkpoint = find_checkpoint(folder_, communicator_);
    const std::optional<ContinuedRun> continued = continued_run(checkpoint);
    const ContinuedRun* beginning = continued ? &*continued : nullptr;
    if (communicator_.rank() == 0) warn_of_settings(recipe_, beginning == nullptr);
    const ArenaSizes sizes =
        measure_arenas(model, recipe_, mesh_, beginning, place_of(mesh_, communicator_.rank()));
    say_what_comes(data, model,
                   peak_arenas(model, recipe_, mesh_, beginning, place_of(mesh_, communicator_.rank())),
                   largest_arenas(model, recipe_, mesh_, beginning));
    data.verify(communicator_.local_rank(), communicator_.local_size());
    if (communicator_.rank() == 0 && !lock) lock.emplace(folder_);
    claim_run_folder(folder_, recipe_, communicator_);
    TrainingRun training(recipe_, model, mesh_, sizes, data, folder_, communicator_, beginning);
    resume(training, checkpoint);
    say_which_weights_exist(training, model);
    keep_recipe(folder_, recipe_, communicator_);
    return train(training, data, signals);
  }

 private:
  // `sizes` of this rank, `largest` of the rank that needs most.
  void say_what_comes(const TrainingData& data, const ModelConfig& model, const ArenaSizes& sizes,
                      const ArenaSizes& largest) {
    const size_t process_bytes = working_process_bytes(model, recipe_);
    const std::vector<MemoryItem> memory = memory_of_rank(sizes, model, mesh_, process_bytes);
    predicted_bytes_ = total_bytes(memory);
    if (communicator_.local_rank() == 0)
      expect_fits(memory_of_rank(largest, model, mesh_, process_bytes), communicator_.local_size(),
                  available_memory_bytes());
    int64_t sequences = 0;
    for (const LanguageData& language : data.languages()) sequences += language.sequences();
    spdlog::info("{}: {} languages ({}), {} tokens in {} sequences of {}", recipe_.name(),
                 data.names().size(), names_text(data.names(), 12),
                 count_text(static_cast<double>(data.tokens())), count_text(static_cast<double>(sequences)),
                 model.context);
    const Transformer shape(model);
    spdlog::info("model: {}, {} layers, hidden {}, vocabulary {}",
                 parameters_text(shape.parameters().elements(), shape.parameters().active_elements()),
                 model.layers, model.hidden, model.vocabulary);
    std::string parts;
    for (const MemoryItem& item : memory)
      parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", item.name,
                           bytes_text(static_cast<double>(item.bytes)));
    spdlog::info("memory of each rank: {} ({})", bytes_text(static_cast<double>(predicted_bytes_)), parts);
    spdlog::info(
        "{} rank(s) x {} thread(s){}{}{}{}, zero {}; a step is {} sequences in {} micro-batches, {} "
        "reduction shards",
        communicator_.size(), threads_,
        mesh_.pipeline > 1 ? fmt::format(" in {} stages{} of {}", mesh_.pipeline,
                                         mesh_.virtual_stages > 1
                                             ? fmt::format(" x {} parts of the layers", mesh_.virtual_stages)
                                             : "",
                                         mesh_.data)
                           : "",
        mesh_.tensor > 1 ? fmt::format(", {} of which share each matrix", mesh_.tensor) : "",
        mesh_.context > 1 ? fmt::format(", {} of which share each sequence", mesh_.context) : "",
        mesh_.expert > 1 ? fmt::format(", {} of which share the experts", mesh_.expert) : "", mesh_.zero,
        recipe_.batch.sequences, recipe_.batch.sequences / recipe_.batch.micro_sequences,
        recipe_.batch.reduction_shards);
    if (!own_cores_.empty())
      spdlog::info("each rank of a machine has cores of its own, this one {}", cores_text(own_cores_));
    warn_of_binding();
  }

  void say_which_weights_exist(const TrainingRun& training, const ModelConfig& model) {
    const Parameters& parameters = training.all_parameters();
    if (communicator_.rank() != 0) return;
    if (recipe_.sparsity.method == SparsityMethod::kDense) {
      if (recipe_.sparsity.sparsity > 0)
        spdlog::warn(
            "sparsity.method = \"dense\": sparsity.sparsity = {} is not used; name a method to leave weights "
            "out",
            recipe_.sparsity.sparsity);
      return;
    }
    spdlog::info("sparsity: {}, {}; {} of {} weights exist now", name_of(recipe_.sparsity.method),
                 name_of(recipe_.sparsity.pattern), count_text(static_cast<double>(parameters.elements())),
                 count_text(static_cast<double>(parameters.dense_elements())));
    if (parameters.elements() == parameters.dense_elements() && recipe_.sparsity.target_sparsity() == 0)
      spdlog::warn("sparsity.sparsity = 0 leaves every weight where it is");
    for (const std::string& line :
         product_report(training.parameters(), model, recipe_.batch.micro_sequences * model.context))
      spdlog::info("{}", line);
  }

  void warn_of_binding() {
    const int64_t share = machine_cores() / communicator_.local_size();
    const bool is_asked = recipe_.threads > 0 || threads_of_environment() > 0;
    if (!is_asked && communicator_.rank() == 0 && threads_ < share)
      spdlog::warn(
          "each rank is bound to {} core(s) of its share of {}; mpirun --bind-to none lets it use them",
          threads_, share);
  }

  static void resume(TrainingRun& training, const std::optional<fs::path>& checkpoint) {
    if (!checkpoint) return;
    training.trainer().resume(*checkpoint);
    spdlog::info("continuing from {}", checkpoint->string());
  }

  ExitCode train(TrainingRun& training, const TrainingData& data, const StopSignals& signals) {
    Trainer& trainer = training.trainer();
    const int64_t first_step = trainer.step();
    if (first_step >= recipe_.train.steps) {
      spdlog::info("{} has all its {} steps; raise train.steps to go on", folder_.string(),
                   recipe_.train.steps);
      return ExitCode::kDone;
    }
    std::optional<RunLog> log;
    if (communicator_.rank() == 0)
      log.emplace(folder_, data.names(), training.ledger(), recipe_.train, first_step);
    if (profile_) trainer.set_profile(&*profile_);
    trainer.set_pulse(pulse_);
    spdlog::info("first step begins after {:.2f} s", seconds_since(start_));
    const Trainer::Outcome outcome = trainer.run(signals.requested(), [&](const StepMetrics& metrics) {
      if (log) log->add(metrics);
    });
    if (log) {
      log->finish();
      say_what_came(trainer, first_step, log->last_loss());
    }
    if (profile_) report_profile(*profile_, folder_, communicator_.rank());
    if (outcome == Trainer::Outcome::kDone) return ExitCode::kDone;
    spdlog::info("stopped on request, after saving; the same command goes on from there");
    return ExitCode::kStopped;
  }

  void say_what_came(const Trainer& trainer, int64_t first_step, double loss) {
    spdlog::info("steps {} to {} in {}, last loss {:.4f}{}", first_step + 1, trainer.step(),
                 duration_text(seconds_since(start_)), loss,
                 trainer.skipped() > 0 ? fmt::format(", {} skipped: not finite", trainer.skipped()) : "");
    const auto peak = static_cast<double>(peak_resident_bytes()),
               predicted = static_cast<double>(predicted_bytes_);
    spdlog::info("peak memory {}, predicted {} ({:+.1f} %)", bytes_text(peak), bytes_text(predicted),
                 100 * (predicted / peak - 1));
    spdlog::info(
        "{0}: recipe.toml, metrics.jsonl, ledger.json, TensorBoard events (tensorboard --logdir {0}), "
        "checkpoints/",
        folder_.string());
  }

  const Clock::time_point start_ = Clock::now();
  Communicator& communicator_;
  const Recipe recipe_;
  const fs::path folder_;
  const Mesh mesh_;
  const int64_t threads_;
  std::optional<Profile> profile_;
  std::vector<int> own_cores_;
  Pulse* pulse_ = nullptr;  // null: nobody watches
  size_t predicted_bytes_ = 0;
};

// For scripts that start a run again with fewer ranks.
ExitCode print_most_ranks(const Options& options) {
  const Recipe recipe = read_recipe(options.recipe, options.overrides);
  fmt::print("{}\n", most_ranks(recipe.mesh, options.most_ranks, recipe.batch.reduction_shards));
  return ExitCode::kDone;
}

}  // namespace

void declare_train(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "train", "Trains a recipe on prepared data; continues by itself what is in the run folder");
  auto options = std::make_shared<Options>();
  command->add_option("recipe", options->recipe, "the recipe")->required()->option_text("RECIPE");
  command->add_option("--set", options->overrides, "override a key of the recipe; may be repeated")
      ->allow_extra_args(false)
      ->option_text("SECTION.KEY=VALUE");
  command->add_option("--out", options->out, "the run folder (default: runs/<name of the recipe>)")
      ->option_text("RUN");
  command
      ->add_option(
          "--profile", options->profile,
          "time each op of so many steps after the first (default: all): a table of calls, time, GFLOP/s\n"
          "and GB/s at the end, and a Chrome trace of each rank in RUN/profile-rank-N.json")
      ->expected(0, 1)
      ->default_str("all")  // what it is without STEPS
      ->check([](const std::string& steps) {
        profiled_steps(steps);  // here, because a recipe taken for STEPS must not be reported as missing
        return std::string();
      })
      ->option_text("[STEPS]");
  command
      ->add_option("--most-ranks", options->most_ranks,
                   "only print how many ranks, N at most, can share the recipe's work; train nothing")
      ->check(CLI::PositiveNumber)
      ->option_text("N");
  command->footer(
      "SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 save and exit 3; the same command goes on. Any number of ranks\n"
      "that divides batch.reduction_shards gives the same weights to the bit: mpirun -n 4 fern train RECIPE\n"
      "So do stages that share the layers: mpirun -n 4 fern train RECIPE --set parallel.pipeline=2\n"
      "When a rank dies, stops, loops or goes astray, the others say which, and where, within\n"
      "parallel.stall_seconds, and exit 4; launch/ranks.sh --restarts R goes on without it.");
  command->callback([&run, options] {
    run = [options](Communicator& communicator) {
      return options->most_ranks > 0 ? print_most_ranks(*options)
                                     : TrainCommand(*options, communicator).run();
    };
  });
}

}  // namespace fern
