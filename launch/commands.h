// The commands of the `fern` program. Each declares its options and help; when the user chose it, it sets
// `run` to the work, which main starts once the command line is known to be right.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "framework/core/error.h"
#include "parallel/communicator.h"

namespace fern {

using Run = std::function<ExitCode(Communicator&)>;

void declare_collect(CLI::App& program, Run& run);
void declare_prepare(CLI::App& program, Run& run);
void declare_train(CLI::App& program, Run& run);
void declare_evaluate(CLI::App& program, Run& run);
void declare_generate(CLI::App& program, Run& run);
void declare_export(CLI::App& program, Run& run);
void declare_import(CLI::App& program, Run& run);
void declare_prune(CLI::App& program, Run& run);
void declare_densify(CLI::App& program, Run& run);
void declare_plan(CLI::App& program, Run& run);
void declare_compare(CLI::App& program, Run& run);
void declare_budget(CLI::App& program, Run& run);
void declare_inspect(CLI::App& program, Run& run);
void declare_help(CLI::App& program, Run& run);  // last: it explains those before it

}  // namespace fern
