#include "data_tools/prepare.h"

#include <unistd.h>

#include <iostream>
#include <memory>

#include "framework/checkpoint/layout.h"
#include "launch/commands.h"
#include "launch/loaded_model.h"
#include "recipes/recipe.h"

namespace fern {

namespace {

struct PrepareOptions {
  std::string recipe;
  std::vector<std::string> overrides;
};

}  // namespace

void declare_prepare(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "prepare",
      "Makes a recipe's data.folder: deduplicates and splits the segments, trains the tokenizer, turns "
      "segments "
      "into examples and packs them into shards. The tokenizer is that of model.weights where the recipe has "
      "one. Run again, it does what is missing, or nothing");
  auto options = std::make_shared<PrepareOptions>();
  command->add_option("recipe", options->recipe, "recipe file; fern help recipe explains its keys")
      ->required()
      ->option_text("RECIPE");
  command->add_option("--set", options->overrides, "overrides a key of the recipe; may be repeated")
      ->option_text("KEY=VALUE");
  command->callback([&run, options] {
    run = [options](Communicator& communicator) {
      if (communicator.rank() != 0) return ExitCode::kDone;
      const Recipe recipe = read_recipe(options->recipe, options->overrides);
      WorkProgress progress(std::cout, isatty(STDOUT_FILENO) == 1);
      prepare(recipe, progress,
              recipe.weights.empty() ? std::filesystem::path()
                                     : find_checkpoint(recipe.weights) / kTokenizerFile);
      return ExitCode::kDone;
    };
  });
}

}  // namespace fern
