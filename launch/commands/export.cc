// fern export: a checkpoint as a Hugging Face folder, verified by reading it back through other code.
#include <fmt/color.h>

#include <algorithm>
#include <cmath>

#include "framework/checkpoint/hugging_face.h"
#include "framework/checkpoint/reference_model.h"
#include "framework/core/files.h"
#include "launch/commands.h"
#include "launch/loaded_model.h"
#include "recipes/recipe_text.h"
#include "tokenizer/hugging_face.h"

namespace fern {

namespace {

namespace fs = std::filesystem;

constexpr double kLogitTolerance = 1e-4;
constexpr size_t kVerifiedTokens = 24;

struct Options {
  std::string source, out, prompt = "Fern: Aya. 1, 2, 3!";
  double max_file_gb = 5;
};

// Largest difference between the engine's logits and those of the plain reference that reads the folder's
// bytes.
double largest_difference(const LoadedModel& loaded, const fs::path& folder, const std::string& prompt) {
  std::vector<int32_t> tokens = chat_prompt(loaded.tokenizer, prompt);
  const size_t most = std::min(kVerifiedTokens, static_cast<size_t>(loaded.model.config().context));
  tokens.resize(std::min(tokens.size(), most));
  Stream stream;
  const std::vector<float> ours = loaded.model.logits(tokens, stream);
  const std::vector<double> theirs = ReferenceModel(folder).logits(tokens);
  expect(ours.size() == theirs.size(), "the exported folder gives {} logits, the model {}", theirs.size(),
         ours.size());
  double largest = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    expect(std::isfinite(ours[i]),
           "{}: its logits are not finite: the weights are broken, or were imported so",
           loaded.checkpoint.string());
    largest = std::max(largest, std::abs(double{ours[i]} - theirs[i]));
  }
  return largest;
}

// The model as its folder describes it: a manifest leaves out what only training reads.
ModelConfig exported_config(const LoadedModel& loaded) {
  ModelConfig config = loaded.model.config();
  const std::string& recipe = loaded.manifest.recipe;
  if (config.experts.count > 0 && !recipe.empty())
    config.experts.balance_loss =
        recipe_of_text(recipe, loaded.checkpoint / "manifest.json").model.experts.balance_loss;
  return config;
}

// An export may be replaced; anything else that is there stays.
void refuse_to_overwrite(const fs::path& out) {
  if (fs::exists(out) && !(fs::is_directory(out) && (fs::is_empty(out) || fs::exists(out / "config.json"))))
    fail_usage("--out {}: something else is there; name a new folder", out.string());
}

ExitCode run_export(const Options& options) {
  const fs::path out = fs::path(options.out).lexically_normal();
  refuse_to_overwrite(out);
  if (!(options.max_file_gb > 0 && options.max_file_gb <= 1e6))
    fail_usage("--max-file-gb: expected above 0 and at most 1e6, got {}", options.max_file_gb);
  const auto loaded = load_model(options.source);
  const std::string reason = why_not_hugging_face(loaded->model.config(), loaded->model.routing());
  if (!reason.empty()) fail_usage("{}: {}", loaded->checkpoint.string(), reason);
  const fs::path folder = out.parent_path() / ("." + out.filename().string() + ".tmp");
  remove_tree(folder);
  create_folders(folder);
  const HuggingFaceOptions files{.bos_id = kBosId,
                                 .eos_id = kEosId,
                                 .stop_ids = stop_ids(loaded->tokenizer),
                                 .max_file_bytes = static_cast<uint64_t>(options.max_file_gb * 1e9)};
  write_hugging_face(folder, exported_config(*loaded), loaded->model.parameters(), files);
  write_hugging_face_tokenizer(folder, loaded->tokenizer, loaded->model.config().context);
  const double difference = largest_difference(*loaded, folder, options.prompt);
  expect(difference <= kLogitTolerance,
         "{}: read back, its logits differ from the model's by {:.2e}; expected at most {:.0e}.{} The folder "
         "is kept under that name for a look, not as {}",
         folder.string(), difference, kLogitTolerance,
         loaded->model.config().experts.count > 0
             ? " Where two experts are equally probable to a rounding, another --prompt may do."
             : "",
         out.string());
  remove_tree(out);
  rename_durably(folder, out);
  fmt::print(
      "exported {} ({} parameters) to {}\nread back through a second implementation: logits differ by at "
      "most "
      "{:.1e} (limit {:.0e})\n",
      loaded->checkpoint.string(), loaded->manifest.parameters, out.string(), difference, kLogitTolerance);
  return ExitCode::kDone;
}

}  // namespace

void declare_export(CLI::App& program, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("export",
                                             "Writes a checkpoint as a Hugging Face folder "
                                             "(LlamaForCausalLM, or with experts MixtralForCausalLM; with "
                                             "model.qk_norm Qwen3ForCausalLM or Qwen3MoeForCausalLM; "
                                             "LlamaTokenizer with chat template) and verifies it by reading "
                                             "it back. Weights that do not exist are zeros in it");
  command->add_option("SOURCE", options->source, "a run (its newest valid checkpoint) or a checkpoint")
      ->required();
  command->add_option("--out", options->out, "the folder to write; an earlier export there is replaced")
      ->required();
  command->add_option("--max-file-gb", options->max_file_gb, "most gigabytes in one safetensors file")
      ->capture_default_str();
  command->add_option("--prompt", options->prompt, "text whose logits are compared")->capture_default_str();
  command->footer(
      "Of models with experts, those are written that Mixtral or, with model.qk_norm, Qwen3-MoE can express: "
      "none\nshared, no token dropped, no biases of bias_rate; as Mixtral also experts in every layer and\n"
      "router = \"mixtral\" only.");
  command->callback([&run, options] { run = [options](Communicator&) { return run_export(*options); }; });
}

}  // namespace fern
