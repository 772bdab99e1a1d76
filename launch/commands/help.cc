#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "launch/commands.h"
#include "recipes/recipe.h"
#include "recipes/suggest.h"

namespace fern {

namespace {

std::string help_on(const CLI::App& program, const std::string& topic) {
  // program.help() would be that of the chosen subcommand, which is this one.
  if (topic.empty())
    return program.get_formatter()->make_help(&program, program.get_name(), CLI::AppFormatMode::Normal);
  if (topic == "recipe") return recipe_help();
  std::vector<std::string> topics = {"recipe"};
  for (const CLI::App* command : program.get_subcommands(nullptr)) {
    if (command->get_name() == topic) return command->help("fern");
    topics.push_back(command->get_name());
  }
  fail_usage("no help on \"{}\"{}; there is help on {}", topic,
             did_you_mean(topic, {topics.begin(), topics.end()}), fmt::join(topics, ", "));
}

}  // namespace

void declare_help(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "help", "Explains the commands, one of them, or (fern help recipe) every key of a recipe");
  auto topic = std::make_shared<std::string>();
  command->add_option("topic", *topic, "a command, or recipe")->option_text("[COMMAND|recipe]");
  command->callback([&program, &run, topic] {
    run = [&program, topic](Communicator& communicator) {
      const std::string text = help_on(program, *topic);
      if (communicator.rank() == 0) fmt::print("{}", text);
      return ExitCode::kDone;
    };
  });
}

}  // namespace fern
