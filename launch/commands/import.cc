// fern import: a Hugging Face folder of a Llama, Mixtral, Qwen3 or Qwen3-MoE as a checkpoint.
#include <fmt/format.h>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/hugging_face.h"
#include "framework/model/config_json.h"
#include "framework/model/transformer.h"
#include "launch/commands.h"
#include "launch/saved_weights.h"
#include "tokenizer/tokenizer.h"

namespace fern {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string source, out;
};

ExitCode run_import(const Options& options) {
  expect_weights_folder(options.out);
  const fs::path source = options.source, tokenizer_model = source / "tokenizer.model";
  expect(
      fs::exists(tokenizer_model) || !fs::exists(source / "tokenizer.json"),
      "{}: expected tokenizer.model (SentencePiece, as Llama has), got tokenizer.json alone, which Fern does "
      "not read; a model with such a tokenizer cannot be imported",
      source.string());
  Transformer model(read_hugging_face_config(source));
  model.parameters().set_patterns(read_hugging_face_patterns(source, model.parameters()));
  Arena arena = sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); });
  read_hugging_face_weights(source, model.parameters());
  const Tokenizer tokenizer(tokenizer_model);
  expect(tokenizer.vocabulary() <= model.config().vocabulary,
         "{}: the tokenizer has {} pieces, but the embedding only {} rows", source.string(),
         tokenizer.vocabulary(), model.config().vocabulary);
  Manifest manifest;
  manifest.model = to_json(model.config());
  manifest.tokenizer_sha256 = tokenizer.sha256();
  const fs::path checkpoint = save_checkpoint(options.out, {.parameters = model.parameters(),
                                                            .first_moment = {},
                                                            .second_moment = {},
                                                            .manifest = manifest,
                                                            .ledger = nullptr,
                                                            .tokenizer_model = tokenizer_model});
  const Manifest saved = read_manifest(checkpoint);
  fmt::print("imported {} to {}\nweights_hash {}\n", source.string(), checkpoint.string(),
             saved.weights_hash);
  if (!saved.topology_hash.empty())
    fmt::print("sparse: {} of {} weights exist\ntopology_hash {}\n", saved.nonzeros, saved.parameters,
               saved.topology_hash);
  return ExitCode::kDone;
}

}  // namespace

void declare_import(CLI::App& program, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("import",
                             "Reads a Hugging Face folder of LlamaForCausalLM, MixtralForCausalLM, "
                             "Qwen3ForCausalLM or Qwen3MoeForCausalLM into a checkpoint (weights only, step "
                             "0); sparse if the folder is fern export's of a sparse model");
  command
      ->add_option("FOLDER", options->source,
                   "folder with config.json, model*.safetensors and tokenizer.model")
      ->required();
  command->add_option("--out", options->out, "folder of its own (no run) that step-000000 is written into")
      ->required();
  command->callback([&run, options] { run = [options](Communicator&) { return run_import(*options); }; });
}

}  // namespace fern
