#include "launch/budget/arm_run.h"

#include <fmt/format.h>

#include <fstream>

#include "framework/checkpoint/checkpoint.h"
#include "framework/core/error.h"
#include "framework/core/files.h"
#include "launch/child_process.h"
#include "launch/run_state.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

Json read_json(const fs::path& file) {
  std::ifstream in(file);
  const Json json = Json::parse(in, nullptr, false);
  expect(!json.is_discarded(), "{}: expected JSON, got something else; remove it and run again",
         file.string());
  return json;
}

// What the run's metrics, its last checkpoint and its evaluation say.
ArmResult measured(const ArmRun& run, int64_t peak_bytes) {
  ArmResult result{.arm = run.arm, .seed = run.seed, .ranks = run.ranks, .peak_bytes = peak_bytes};
  std::ifstream lines(run.folder / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const Json step = Json::parse(line);
    ++result.steps;
    result.flops += step.at("flops").get<double>();
    result.sent_bytes += step.at("sent_bytes").get<int64_t>();
    result.train_s += step.at("step_s").get<double>();
  }
  const auto checkpoint =
      newest_valid_checkpoint(run.folder / "checkpoints", [](const auto&, const auto&) {});
  expect(checkpoint.has_value() && result.steps > 0, "{}: expected a finished run, got none",
         run.folder.string());
  result.weights = read_manifest(*checkpoint).nonzeros;
  const Json evaluation = read_json(run.folder / "evaluation.json");
  result.macro = evaluation.at("macro").get<double>();
  result.worst_tenth = evaluation.at("worst_tenth").get<double>();
  return result;
}

ArmResult from_json(const Json& json, const fs::path& file) {
  try {
    return {.arm = json.at("arm"),
            .seed = json.at("seed"),
            .ranks = json.at("ranks"),
            .weights = json.at("weights"),
            .steps = json.at("steps"),
            .flops = json.at("flops"),
            .train_s = json.at("train_s"),
            .peak_bytes = json.at("peak_bytes"),
            .sent_bytes = json.at("sent_bytes"),
            .macro = json.at("macro"),
            .worst_tenth = json.at("worst_tenth")};
  } catch (const Json::exception& error) {
    fail("{}: not a result ({}); remove it and run again", file.string(), error.what());
  }
}

ArmResult kept_result(const ArmRun& run, const fs::path& file) {
  ArmResult result = from_json(read_json(file), file);
  if (result.ranks != run.ranks)
    fail_usage("{}: it was trained on {} rank(s), and --ranks asks for {}; name another folder with --out",
               run.folder.string(), result.ranks, run.ranks);
  return result;
}

// Of `fern`, on the run's ranks.
int64_t run_fern(std::vector<std::string> arguments, const ArmRun& run, const std::atomic<bool>& stop) {
  std::vector<std::string> words;
  if (run.ranks > 1) words = {"mpirun", "-n", std::to_string(run.ranks)};
  words.push_back(fs::read_symlink("/proc/self/exe").string());
  words.insert(words.end(), arguments.begin(), arguments.end());
  const fs::path log = run.folder / "log.txt";
  const ChildOutcome outcome = run_child(words, log, stop);
  if (outcome.exit_code == static_cast<int>(ExitCode::kStopped) || (stop.load() && outcome.exit_code != 0))
    throw Error(ExitCode::kStopped, "stopped on request; the same command goes on from there");
  expect(outcome.exit_code == 0, "fern {} of arm {}, seed {}, ended with exit code {}; {} says why",
         arguments[0], run.arm, run.seed, outcome.exit_code, log.string());
  return outcome.peak_bytes;
}

}  // namespace

Json to_json(const ArmResult& result) {
  return {{"arm", result.arm},
          {"seed", result.seed},
          {"ranks", result.ranks},
          {"weights", result.weights},
          {"steps", result.steps},
          {"flops", result.flops},
          {"train_s", result.train_s},
          {"peak_bytes", result.peak_bytes},
          {"sent_bytes", result.sent_bytes},
          {"macro", result.macro},
          {"worst_tenth", result.worst_tenth}};
}

ArmResult complete(const ArmRun& run, const std::atomic<bool>& stop) {
  create_folders(run.folder);
  if (fs::exists(run.folder / "recipe.toml"))
    expect_continues(run.folder, read_recipe(run.recipe, run.overrides));
  const fs::path file = run.folder / "result.json";
  if (fs::exists(file)) return kept_result(run, file);
  std::vector<std::string> train = {"train", run.recipe.string(), "--out", run.folder.string()};
  for (const std::string& setting : run.overrides) train.insert(train.end(), {"--set", setting});
  const int64_t peak_bytes = run_fern(train, run, stop);
  run_fern({"evaluate", run.folder.string(), "--json", (run.folder / "evaluation.json").string()}, run, stop);
  ArmResult result = measured(run, peak_bytes);
  write_text_durably(file, to_json(result).dump(2) + "\n");
  return result;
}

}  // namespace fern
