// fern densify: a sparse checkpoint with all of its weights, zero where none was.
#include "framework/train/pruned_model.h"
#include "launch/commands.h"
#include "launch/saved_weights.h"

namespace fern {

namespace {

struct Options {
  std::string source, out;
};

ExitCode run_densify(const Options& options) {
  const auto source = load_source(options.source, options.out);
  if (source->manifest.topology_hash.empty())
    fail_usage("{}: it is dense already; fern prune makes it sparse", source->checkpoint.string());
  Transformer model(source->model.config());
  const Arena arena =
      sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); });
  copy_weights(model.parameters(), source->model.parameters());
  save_weights(options.out, *source, model.parameters());
  return ExitCode::kDone;
}

}  // namespace

void declare_densify(CLI::App& program, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand(
      "densify",
      "Writes a sparse checkpoint as a dense one, with zeros where no weight existed (weights only)");
  command
      ->add_option("SOURCE", options->source,
                   "a run (its newest valid checkpoint), a checkpoint, or a folder of fern import or prune")
      ->required();
  command->add_option("--out", options->out, "folder of its own (no run) that step-NNNNNN is written into")
      ->required();
  command->callback([&run, options] { run = [options](Communicator&) { return run_densify(*options); }; });
}

}  // namespace fern
