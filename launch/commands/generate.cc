// fern generate: text from a checkpoint, token by token through the key-value cache.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "framework/model/sampling.h"
#include "launch/commands.h"
#include "launch/loaded_model.h"
#include "tokenizer/hugging_face.h"

namespace fern {

namespace {

struct Options {
  std::string source, prompt;
  bool plain = false;
  int64_t max_tokens = 128;
  SamplingConfig sampling;
};

// Prints the text that grew by a token. A character's bytes may come in several tokens: what is not whole yet
// waits.
class Printer {
 public:
  explicit Printer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(int32_t token) {
    ids_.push_back(token);
    const std::string text = tokenizer_.decode(ids_);
    const bool whole = !text.ends_with("\xEF\xBF\xBD");  // U+FFFD: bytes of a character that is not complete
    if (!whole || text.size() <= printed_) return;
    std::fwrite(text.data() + printed_, 1, text.size() - printed_, stdout);
    std::fflush(stdout);
    printed_ = text.size();
  }

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  size_t printed_ = 0;
};

ExitCode run_generate(const Options& options) {
  validate(options.sampling);
  const auto loaded = load_model(options.source);
  std::vector<int32_t> tokens = chat_prompt(loaded->tokenizer, options.prompt);
  if (options.plain) {
    tokens = loaded->tokenizer.encode(options.prompt);
    tokens.insert(tokens.begin(), kBosId);
  }
  const int64_t context = loaded->model.config().context, prompt_tokens = static_cast<int64_t>(tokens.size());
  if (prompt_tokens >= context)
    fail_usage("--prompt: {} tokens leave no room in the model's context of {}; shorten it", prompt_tokens,
               context);

  Stream stream;
  const auto cache = loaded->model.make_cache(context);
  const std::vector<int32_t> stops = stop_ids(loaded->tokenizer);
  Printer printer(loaded->tokenizer);
  const int64_t most = std::min(options.max_tokens, context - prompt_tokens);
  for (int64_t i = 0; i < most; ++i) {
    const auto logits = loaded->model.next_logits(*cache, tokens, stream);
    expect(std::none_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); }),
           "{}: its logits are not numbers: the weights are broken, or were imported so",
           loaded->checkpoint.string());
    const int32_t next = sample(logits, options.sampling, static_cast<uint64_t>(i));
    if (std::find(stops.begin(), stops.end(), next) != stops.end()) break;
    printer.add(next);
    tokens.assign(1, next);
  }
  std::puts("");
  return ExitCode::kDone;
}

}  // namespace

void declare_generate(CLI::App& program, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("generate", "Writes text from a checkpoint");
  command->add_option("SOURCE", options->source, "a run (its newest valid checkpoint) or a checkpoint")
      ->required();
  command
      ->add_option("--prompt", options->prompt,
                   "what the user says (chat format), or text to go on from (--plain)")
      ->required();
  command->add_flag("--plain", options->plain, "no chat format: go on from the prompt itself");
  command->add_option("--max-tokens", options->max_tokens, "most tokens to write")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command
      ->add_option("--temperature", options->sampling.temperature,
                   "0: always the likeliest token; 1: as the model says")
      ->capture_default_str();
  command
      ->add_option("--top-p", options->sampling.top_p,
                   "sample among the likeliest tokens of this total probability")
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "the same seed gives the same text")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 63));
  command->callback([&run, options] { run = [options](Communicator&) { return run_generate(*options); }; });
}

}  // namespace fern
