// fern budget: one recipe trained in several ways with equally many weights, and in equal time.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <map>
#include <memory>

#include "framework/core/files.h"
#include "launch/budget/arms.h"
#include "launch/budget/budget_table.h"
#include "launch/budget/equal_time.h"
#include "launch/commands.h"
#include "launch/run_lock.h"
#include "launch/stop_signals.h"
#include "launch/training_data.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

struct Options {
  std::string recipe, out;
  std::vector<std::string> overrides, arms;
  int64_t seeds = 3;
  double sparsity = 0;
  int ranks = 1;
  bool wall_clock = false;
};

class BudgetCommand {
 public:
  explicit BudgetCommand(const Options& options)
      : options_(options), recipe_(read_recipe(options.recipe, options.overrides)), folder_(options.out) {
    sparsity_ = options.sparsity > 0 ? options.sparsity : recipe_.sparsity.target_sparsity();
    if (!(sparsity_ > 0 && sparsity_ < 1))
      fail_usage("--sparsity: expected a share between 0 and 1, got {}", sparsity_);
    ModelConfig model = recipe_.model;
    model.vocabulary = TrainingData(recipe_).tokenizer().vocabulary();
    arms_ = make_arms(options.arms, recipe_, model, sparsity_);
    budget_ = budget_weights(model, recipe_, sparsity_);
    // A recipe that one arm refuses is refused before hours of the others.
    for (const Arm& arm : arms_) read_recipe(options_.recipe, overrides_of(arm));
  }

  ExitCode run() {
    const StopSignals signals;
    create_folders(folder_);
    const RunLock lock(folder_);
    const std::string weights = fmt::format("{} weights, {:.0f} % sparse", budget_, 100 * sparsity_);
    spdlog::info("{}: arms {}, {} seed(s), {}", recipe_.name(), fmt::join(options_.arms, ", "),
                 options_.seeds, weights);
    const std::vector<ArmResult> equal_steps = complete_all("equal_steps", {}, signals.requested());
    add_table("Equal weights, equal steps (" + weights + ")", "equal_steps", equal_steps);
    if (options_.wall_clock) {
      const std::map<std::string, int64_t> steps =
          equal_time_steps(folder_ / "equal_time" / "steps.json", summarize(equal_steps));
      expect_accepted(steps);
      const std::vector<ArmResult> equal_time = complete_all("equal_time", steps, signals.requested());
      add_table("Equal weights, equal training time (" + weights + ")", "equal_time", equal_time);
    }
    fmt::print("{}", text_);
    return ExitCode::kDone;
  }

 private:
  std::vector<std::string> overrides_of(const Arm& arm) const {
    std::vector<std::string> overrides = options_.overrides;
    overrides.insert(overrides.end(), arm.overrides.begin(), arm.overrides.end());
    return overrides;
  }

  std::vector<std::string> overrides_of(const Arm& arm, int64_t steps) const {
    std::vector<std::string> overrides = overrides_of(arm);
    const Recipe recipe = read_recipe(options_.recipe, overrides);
    for (const std::string& setting : stretched(recipe, steps)) overrides.push_back(setting);
    return overrides;
  }

  // Before hours of equal time: a schedule may not fit into fewer steps.
  void expect_accepted(const std::map<std::string, int64_t>& steps) const {
    for (const Arm& arm : arms_) {
      try {
        read_recipe(options_.recipe, overrides_of(arm, steps.at(arm.name)));
      } catch (const Error& error) {
        fail_usage(
            "--wall-clock: arm {} gets {} steps in the time of {} of arm {}, and cannot train so few: {}; "
            "raise "
            "train.steps or leave the arm out",
            arm.name, steps.at(arm.name), recipe_.train.steps, arms_.front().name, error.what());
      }
    }
  }

  // Seed by seed, so that whatever else the machine does meets all arms alike.
  std::vector<ArmResult> complete_all(const std::string& part, const std::map<std::string, int64_t>& steps,
                                      const std::atomic<bool>& stop) const {
    std::vector<ArmResult> results;
    for (int64_t s = 0; s < options_.seeds; ++s)
      for (const Arm& arm : arms_) {
        const uint64_t seed = recipe_.seed + static_cast<uint64_t>(s);
        ArmRun run{.arm = arm.name,
                   .seed = seed,
                   .recipe = options_.recipe,
                   .folder = folder_ / part / fmt::format("{}-seed{}", arm.name, seed),
                   .overrides = steps.empty() ? overrides_of(arm) : overrides_of(arm, steps.at(arm.name)),
                   .ranks = options_.ranks};
        run.overrides.push_back(fmt::format("train.seed={}", seed));
        results.push_back(complete(run, stop));
        if (const int64_t asked = steps.empty() ? recipe_.train.steps : steps.at(arm.name);
            results.back().steps != asked)
          fail_usage("{}: it has trained {} steps and the recipe asks for {}; name another folder with --out",
                     run.folder.string(), results.back().steps, asked);
        spdlog::info("{} {} seed {}: {} steps in {:.1f} s, macro {:.3f} bits per byte", part, arm.name, seed,
                     results.back().steps, results.back().train_s, results.back().macro);
      }
    return results;
  }

  void add_table(const std::string& title, const std::string& part, const std::vector<ArmResult>& results) {
    const std::vector<ArmSummary> arms = summarize(results);
    text_ += (text_.empty() ? "" : "\n") + table_text(title, arms);
    json_[part] = table_json(arms, results);
    write_text_durably(folder_ / "table.md", text_);
    write_text_durably(folder_ / "table.json", json_.dump(2) + "\n");
  }

  const Options& options_;
  const Recipe recipe_;
  const fs::path folder_;
  double sparsity_ = 0;
  std::vector<Arm> arms_;
  int64_t budget_ = 0;
  std::string text_;
  nlohmann::ordered_json json_;
};

}  // namespace

void declare_budget(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "budget",
      "Compares ways to train a recipe with equally many weights, dense and sparse: one table over seeds");
  auto options = std::make_shared<Options>();
  options->arms.assign(arm_names().begin(), arm_names().end() - 1);
  command->add_option("recipe", options->recipe, "the recipe")->required()->option_text("RECIPE");
  command->add_option("--out", options->out, "the folder for runs and tables")
      ->required()
      ->option_text("DIR");
  command->add_option("--set", options->overrides, "override a key of the recipe; may be repeated")
      ->allow_extra_args(false)
      ->option_text("SECTION.KEY=VALUE");
  command
      ->add_option("--arms", options->arms,
                   "which, the first is what the others are held to (default: all but dense):\n"
                   "dense_small, static, set, rigl, gradual, block_rigl, dense")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->option_text("ARM,ARM...");
  command->add_option("--seeds", options->seeds, "runs of each arm, from train.seed on (default: 3)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->option_text("N");
  command
      ->add_option("--sparsity", options->sparsity,
                   "share of the sparse matrices' weights that do not exist (default: the recipe's)")
      ->check(CLI::Range(0.0, 1.0))
      ->option_text("SHARE");
  command->add_option("--ranks", options->ranks, "ranks of each run, through mpirun (default: 1)")
      ->check(CLI::Range(1, 1 << 20))
      ->option_text("N");
  command->add_flag("--wall-clock", options->wall_clock,
                    "then also give each arm as many steps as take the first arm's time, its\n"
                    "schedules stretched to them");
  command->footer(
      "dense_small is a dense model of as many weights as the sparse ones have, embedding included: as "
      "deep,\n"
      "but narrower. FLOP are those executed in training. Spreads are sample standard deviations over "
      "seeds;\n"
      "the last column compares runs of equal seed. Ctrl-C saves; the same command goes on, arm by arm.");
  command->callback([&run, options] {
    run = [options](Communicator& communicator) {
      if (communicator.size() > 1)
        fail_usage("fern budget starts its ranks itself: expected no mpirun, got {} ranks; use --ranks",
                   communicator.size());
      return BudgetCommand(*options).run();
    };
  });
}

}  // namespace fern
