#include <fmt/format.h>

#include <memory>

#include "launch/commands.h"
#include "launch/compare_runs.h"

namespace fern {

void declare_compare(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand(
      "compare",
      "Compares two runs to the bit: equal (exit 0), or the first step and field that differ (exit 1)");
  auto runs = std::make_shared<std::vector<std::string>>();
  command->add_option("runs", *runs, "two run folders")->required()->expected(2)->option_text("RUN RUN");
  command->callback([&run, runs] {
    run = [runs](Communicator& communicator) {
      if (communicator.rank() != 0) return ExitCode::kDone;
      const Comparison comparison = compare_runs(runs->at(0), runs->at(1));
      fmt::print("{}\n", comparison.text);
      return comparison.equal ? ExitCode::kDone : ExitCode::kFailed;
    };
  });
}

}  // namespace fern
