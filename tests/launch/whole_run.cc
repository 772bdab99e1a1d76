#include "tests/launch/whole_run.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

namespace fern {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

fs::path Run::folder_;

void Run::SetUpTestSuite() {
  folder_ = fs::path(testing::TempDir()) / ("fern_run_" + std::to_string(getpid()));
  const std::string script = FERN_SOURCE_ROOT "/tests/support/tiny_recipe.sh";
  const Outcome outcome = Program({"sh", script, folder_.string(), FERN_PROGRAM}).wait();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Outcome whole = run_fern(train("whole"));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
}

void Run::TearDownTestSuite() { fs::remove_all(folder_); }

std::vector<std::string> Run::train(const std::string& run, std::vector<std::string> more) {
  std::vector<std::string> words = {"train", path("recipe.toml"), "--out", path(run),
                                    "--set", "train.threads=1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::vector<std::string> Run::set(const std::vector<std::string>& settings) {
  std::vector<std::string> words;
  for (const std::string& setting : settings) words.insert(words.end(), {"--set", setting});
  return words;
}

Outcome Run::trained(int ranks, const std::string& run, const std::vector<std::string>& settings) {
  const std::vector<std::string> words = train(run, set(settings));
  const Outcome outcome = ranks == 1 ? run_fern(words) : run_fern_on(ranks, words);
  EXPECT_EQ(outcome.exit_code, 0) << run << ": " << outcome.err;
  return outcome;
}

void Run::expect_refused(int ranks, const std::vector<std::string>& settings, const std::string& reason) {
  const std::vector<std::string> words = train("refused", set(settings));
  const Outcome outcome = ranks == 1 ? run_fern(words) : run_fern_on(ranks, words);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, reason)) << outcome.err;
}

void Run::expect_equal(const std::string& reference, const std::string& run) {
  const Outcome outcome = run_fern({"compare", path(reference), path(run)});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  const auto ledger = nlohmann::json::parse(text_of(folder_ / run / "ledger.json"));
  EXPECT_EQ(ledger, nlohmann::json::parse(text_of(folder_ / reference / "ledger.json")));
  EXPECT_EQ(ledger.at("token_stream_sha256").get<std::string>().size(), 64u);
}

void Run::expect_near(const std::string& run, const std::string& reference, double tolerance) {
  const std::vector<nlohmann::json> steps = metrics(run), expected = metrics(reference);
  ASSERT_EQ(steps.size(), expected.size()) << run;
  const auto expect_loss = [&](const nlohmann::json& got, double loss, const std::string& of) {
    EXPECT_NEAR(got.get<double>(), loss, tolerance * loss) << run << ": " << of;
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string step = "step " + std::to_string(i + 1);
    expect_loss(steps[i].at("loss"), expected[i].at("loss"), step);
    for (const auto& [language, loss] : expected[i].at("language_loss").items())
      if (loss.is_number())
        expect_loss(steps[i].at("language_loss").at(language), loss, language + ", " + step);
  }
  const auto ledger = [](const std::string& name) {
    return nlohmann::json::parse(text_of(folder_ / name / "ledger.json"));
  };
  EXPECT_EQ(ledger(run), ledger(reference));
}

std::vector<fs::path> Run::checkpoints(const std::string& run) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder_ / run / "checkpoints"))
    found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

void Run::go_back(const std::string& run, int64_t step) {
  for (const fs::path& checkpoint : checkpoints(run))
    if (std::stoll(checkpoint.filename().string().substr(5)) > step) fs::remove_all(checkpoint);
}

std::vector<nlohmann::json> Run::metrics(const std::string& run) {
  std::vector<nlohmann::json> steps;
  std::ifstream lines(folder_ / run / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) steps.push_back(nlohmann::json::parse(line));
  return steps;
}

std::vector<std::string> Run::topology_hashes(const std::string& run) {
  std::vector<std::string> hashes;
  for (const nlohmann::json& step : metrics(run))
    if (step.contains("topology")) hashes.push_back(step["topology"]["hash"]);
  return hashes;
}

std::string Run::weights_hash(const fs::path& checkpoint) {
  const Outcome outcome = run_fern({"inspect", checkpoint.string(), "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return nlohmann::json::parse(outcome.out).at("weights_hash");
}

void Run::wait_for_steps(const std::string& run, int64_t steps) {
  for (int i = 0; i < 6000; ++i) {
    const std::string metrics = text_of(folder_ / run / "metrics.jsonl");
    if (std::count(metrics.begin(), metrics.end(), '\n') >= steps) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FAIL() << "no " << steps << " steps of " << run << " after a minute";
}

}  // namespace fern
