#include "launch/fern_program.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <thread>

#include "launch/commands.h"
#include "recipes/suggest.h"

namespace fern {

namespace {

// One line registers a command; `fern help` lists them in this order.
// clang-format off
constexpr void (*kCommands[])(CLI::App&, Run&) = {
    declare_collect,
    declare_prepare,
    declare_train,
    declare_evaluate,
    declare_generate,
    declare_export,
    declare_import,
    declare_prune,
    declare_densify,
    declare_plan,
    declare_compare,
    declare_budget,
    declare_inspect,
    declare_help,
};
// clang-format on

constexpr const char* kDescription =
    R"(Fern trains transformers across many low-resource languages.

Many ranks: mpirun -n N fern train RECIPE ...
Exit codes: 0 done, 1 failed, 2 bad usage or recipe, 3 stopped on request after saving, 4 another rank failed or hung)";

std::vector<std::string> command_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

void expect_known_command(const CLI::App& program, int argc, char** argv) {
  if (argc < 2) fail_usage("expected a command; fern help lists them");
  const std::string name = argv[1];
  const std::vector<std::string> names = command_names(program);
  if (name.starts_with("-") || std::ranges::count(names, name)) return;
  fail_usage("unknown command \"{}\"{}; the commands are {}", name,
             did_you_mean(name, {names.begin(), names.end()}), fmt::join(names, ", "));
}

// Reads the command line; false when it only asked for help, which rank 0 has printed.
bool parse(CLI::App& program, int argc, char** argv, bool prints) {
  try {
    program.parse(argc, argv);
    return true;
  } catch (const CLI::Success& help) {
    if (prints) program.exit(help);
    return false;
  } catch (const CLI::ParseError& error) {
    const auto chosen = program.get_subcommands();
    fail_usage("{}; see fern help{}", error.what(), chosen.empty() ? "" : " " + chosen.front()->get_name());
  }
}

ExitCode run_program(int argc, char** argv, Communicator& communicator) {
  CLI::App program(kDescription, "fern");
  program.require_subcommand(1);
  Run run;
  for (const auto declare : kCommands) declare(program, run);
  const bool asks_for_help = argc > 1 && std::string(argv[1]).starts_with("-");
  if (!asks_for_help) expect_known_command(program, argc, argv);
  if (!parse(program, argc, argv, communicator.rank() == 0)) return ExitCode::kDone;
  const ExitCode code = run(communicator);
  expect(std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout.flush(),
         "standard output: not all could be written; is the disk full?");
  return code;
}

// Says what went wrong and ends all ranks. Most errors meet every rank alike, so the others let rank 0 speak.
int report(ExitCode code, const char* message, Communicator& communicator) {
  if (communicator.rank() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  std::cout.flush();
  if (communicator.size() == 1)
    fmt::print(stderr, "fern: {}\n", message);
  else
    fmt::print(stderr, "fern: rank {}: {}\n", communicator.rank(), message);
  if (communicator.size() > 1) communicator.abort(static_cast<int>(code));
  return static_cast<int>(code);
}

}  // namespace

int run_fern(int argc, char** argv, Communicator& communicator) {
  try {
    return static_cast<int>(run_program(argc, argv, communicator));
  } catch (const Error& error) {
    return report(error.code(), error.what(), communicator);
  } catch (const std::bad_alloc&) {
    return report(ExitCode::kFailed, "out of memory; fern plan RECIPE says what a run needs", communicator);
  } catch (const std::exception& error) {
    return report(ExitCode::kFailed, error.what(), communicator);
  }
}

}  // namespace fern
