// fern evaluate: bits per byte for each language on a held-out split, beside a unigram baseline.
#include <fmt/format.h>
#include <omp.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>

#include "framework/core/files.h"
#include "framework/train/evaluation.h"
#include "launch/commands.h"
#include "launch/loaded_model.h"
#include "recipes/recipe.h"

namespace fern {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string source, data, split, json;
  int64_t max_sequences = -1;
};

// The recipe of the run that a checkpoint lies in.
std::optional<Recipe> recipe_beside(const fs::path& checkpoint) {
  const fs::path file = fs::absolute(checkpoint).parent_path().parent_path() / "recipe.toml";
  if (!fs::exists(file)) return std::nullopt;
  return read_recipe(file, {});
}

// What the command line leaves open comes from the recipe.
struct Plan {
  fs::path data;
  std::string split = "valid";
  int64_t max_sequences = 0, micro_sequences = 4;
};

Plan plan_of(const Options& options, const fs::path& checkpoint) {
  Plan plan;
  if (const auto recipe = recipe_beside(checkpoint)) {
    plan.data = recipe->data.folder;
    plan.split = recipe->evaluate.split;
    plan.max_sequences = recipe->evaluate.max_sequences;
    plan.micro_sequences = recipe->batch.micro_sequences;
  }
  if (!options.data.empty()) plan.data = options.data;
  if (!options.split.empty()) plan.split = options.split;
  if (!plan.data.empty() && !fs::is_directory(plan.data))
    fail_usage("{}: there is no such folder from here; give --data FOLDER (what fern prepare wrote)",
               plan.data.string());
  if (options.max_sequences >= 0) plan.max_sequences = options.max_sequences;
  if (plan.data.empty())
    fail_usage(
        "{}: no recipe.toml of its run beside it says where the data is; give --data FOLDER (what fern "
        "prepare "
        "wrote)",
        checkpoint.string());
  return plan;
}

// Scores every language; with several ranks each takes every n-th language and the sums meet on all.
std::vector<LanguageScore> score_all(LoadedModel& loaded, const Plan& plan, Communicator& communicator) {
  const int64_t context = loaded.model.config().context;
  const auto held_out = open_languages(plan.data, plan.split, loaded.tokenizer.sha256(), context);
  const auto training = open_languages(plan.data, "train", loaded.tokenizer.sha256(), context);
  verify_shards(held_out, communicator.local_rank(), communicator.local_size());
  verify_shards(training, communicator.local_rank(), communicator.local_size());
  const UnigramBaseline baseline(training, loaded.tokenizer.vocabulary());
  const auto build = [&](Arena& arena) {
    return loaded.model.allocate_activations(arena, plan.micro_sequences * context);
  };
  Arena measure = Arena::measuring("activations");
  build(measure);
  Arena arena("activations", measure.used_bytes());
  Evaluator evaluator(loaded.model, baseline, plan.micro_sequences, arena);

  Stream stream;
  std::vector<double> sums(held_out.size() * 5, 0.0);
  for (size_t l = static_cast<size_t>(communicator.rank()); l < held_out.size();
       l += static_cast<size_t>(communicator.size())) {
    const LanguageScore score = evaluator.score(held_out[l], plan.max_sequences, stream);
    const double row[] = {static_cast<double>(score.documents), static_cast<double>(score.loss_tokens),
                          static_cast<double>(score.loss_bytes), score.nats, score.unigram_nats};
    std::copy(std::begin(row), std::end(row), sums.begin() + static_cast<std::ptrdiff_t>(5 * l));
  }
  communicator.all_reduce_sum(sums);

  std::vector<LanguageScore> scores;
  for (size_t l = 0; l < held_out.size(); ++l) {
    const double* row = &sums[5 * l];
    scores.push_back({held_out[l].language(), static_cast<int64_t>(row[0]), static_cast<int64_t>(row[1]),
                      static_cast<int64_t>(row[2]), row[3], row[4]});
  }
  return scores;
}

void print_table(const std::vector<LanguageScore>& scores, const ScoreSummary& summary) {
  fmt::print("{:<12} {:>10} {:>12} {:>11} {:>11}\n", "language", "documents", "loss bytes", "bits/byte",
             "unigram");
  std::vector<LanguageScore> sorted = scores;
  std::sort(sorted.begin(), sorted.end(), [](const LanguageScore& a, const LanguageScore& b) {
    return a.bits_per_byte() != b.bits_per_byte() ? a.bits_per_byte() < b.bits_per_byte()
                                                  : a.language < b.language;
  });
  for (const LanguageScore& score : sorted)
    fmt::print("{:<12} {:>10} {:>12} {:>11.3f} {:>11.3f}\n", score.language, score.documents,
               score.loss_bytes, score.bits_per_byte(), score.unigram_bits_per_byte());
  fmt::print(
      "\n{} languages: micro {:.3f}  macro {:.3f}  worst {:.3f}  worst tenth {:.3f}  Gini {:.3f}\n"
      "unigram baseline: macro {:.3f}; the model is below it for {} of {} languages ({:.0f} %)\n",
      summary.languages, summary.micro, summary.macro, summary.worst, summary.worst_tenth, summary.gini,
      summary.unigram_macro, summary.below_unigram, summary.languages,
      100.0 * static_cast<double>(summary.below_unigram) /
          static_cast<double>(std::max<int64_t>(1, summary.languages)));
}

nlohmann::json to_json(const LoadedModel& loaded, const Plan& plan, const std::vector<LanguageScore>& scores,
                       const ScoreSummary& summary) {
  nlohmann::json languages = nlohmann::json::object();
  for (const LanguageScore& score : scores)
    languages[score.language] = {{"documents", score.documents},
                                 {"loss_tokens", score.loss_tokens},
                                 {"loss_bytes", score.loss_bytes},
                                 {"bits_per_byte", score.bits_per_byte()},
                                 {"unigram_bits_per_byte", score.unigram_bits_per_byte()}};
  return {{"checkpoint", loaded.checkpoint.string()},
          {"step", loaded.manifest.step},
          {"weights_hash", loaded.manifest.weights_hash},
          {"split", plan.split},
          {"micro", summary.micro},
          {"macro", summary.macro},
          {"worst", summary.worst},
          {"worst_tenth", summary.worst_tenth},
          {"gini", summary.gini},
          {"unigram_macro", summary.unigram_macro},
          {"below_unigram", summary.below_unigram},
          {"languages", languages}};
}

ExitCode run_evaluate(const Options& options, Communicator& communicator) {
  const auto loaded = load_model(options.source);
  const Plan plan = plan_of(options, loaded->checkpoint);
  const std::vector<LanguageScore> scores = score_all(*loaded, plan, communicator);
  if (communicator.rank() != 0) return ExitCode::kDone;
  const ScoreSummary summary = summarize(scores);
  expect(std::isfinite(summary.macro),
         "{}: its losses are not finite: the weights are broken, or were imported so",
         loaded->checkpoint.string());
  print_table(scores, summary);
  if (!options.json.empty())
    write_text_durably(options.json, to_json(*loaded, plan, scores, summary).dump(2) + "\n");
  return ExitCode::kDone;
}

}  // namespace

void declare_evaluate(CLI::App& program, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand(
      "evaluate",
      "Bits per original byte for each language on held-out text, beside a unigram baseline that knows the "
      "language");
  command->add_option("SOURCE", options->source, "a run (its newest valid checkpoint) or a checkpoint")
      ->required();
  command->add_option("--data", options->data,
                      "folder that fern prepare wrote (default: the run's recipe says)");
  command->add_option("--split", options->split, "valid or test (default: the run's recipe says)")
      ->check(CLI::IsMember({"train", "valid", "test"}));
  command
      ->add_option("--max-sequences", options->max_sequences,
                   "most packed sequences per language; 0: all (default: the run's recipe says)")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
  command->add_option("--json", options->json, "also write the figures to this file");
  command->callback([&run, options] {
    run = [options](Communicator& communicator) { return run_evaluate(*options, communicator); };
  });
}

}  // namespace fern
