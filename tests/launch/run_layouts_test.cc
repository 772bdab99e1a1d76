// Runs that stop under one layout of ranks and go on under another: every ordered pair of layouts.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

struct Layout {
  std::string name;  // data x tensor x pipeline
  int ranks = 1;
  std::vector<std::string> settings;
  bool shares = false;  // matrices, sequences or experts, so that results are one process's to rounding
};

const Layout kOne = {"1x1x1", 1, {}};
const Layout kData = {"2x1x1", 2, {"--set", "parallel.zero=1"}};
const Layout kTensor = {"1x2x1", 2, {"--set", "parallel.tensor=2"}, true};
const Layout kPipeline = {"1x1x2", 2, {"--set", "parallel.pipeline=2"}};
const Layout kDataTensor = {"2x2x1", 4, {"--set", "parallel.tensor=2", "--set", "parallel.zero=1"}, true};
const Layout kDataPipeline = {"2x1x2", 4, {"--set", "parallel.pipeline=2", "--set", "parallel.zero=1"}};
const Layout kTensorPipeline = {
    "1x2x2", 4, {"--set", "parallel.tensor=2", "--set", "parallel.pipeline=2"}, true};
const Layout kExpert = {
    "2x1x1_expert_2", 2, {"--set", "parallel.expert=2", "--set", "parallel.zero=1"}, true};
const Layout kContextExpert = {
    "2x1x1_context_2_expert_2",
    4,
    {"--set", "parallel.context=2", "--set", "parallel.expert=2", "--set", "parallel.zero=3"},
    true};
const Layout kGradients = {"4x1x1_zero_2", 4, {"--set", "parallel.zero=2"}};
const Layout kValues = {"2x1x1_zero_3", 2, {"--set", "parallel.zero=3"}};

class Layouts : public Run {
 protected:
  static Outcome run(const Layout& layout, const std::string& name, std::vector<std::string> settings) {
    settings.insert(settings.end(), layout.settings.begin(), layout.settings.end());
    return run_fern_on(layout.ranks, train(name, settings));
  }
  static std::vector<double> losses(const std::string& run) {
    std::vector<double> losses;
    std::ifstream lines(folder_ / run / "metrics.jsonl");
    for (std::string line; std::getline(lines, line);)
      losses.push_back(nlohmann::json::parse(line).at("loss"));
    return losses;
  }
  // To the bit, or where more than data is shared every loss within 1e-5.
  static void expect_follows(const std::string& reference, const std::string& run, bool exactly) {
    if (exactly) return expect_equal(reference, run);
    const std::vector<double> expected = losses(reference), got = losses(run);
    ASSERT_EQ(got.size(), expected.size()) << run;
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], expected[i], 1e-5 * expected[i]) << run << ", step " << i + 1;
    EXPECT_EQ(nlohmann::json::parse(text_of(folder_ / run / "ledger.json")),
              nlohmann::json::parse(text_of(folder_ / reference / "ledger.json")));
  }
  // A copy of a run as if it had been killed after it saved step 20.
  static void copy_until_20(const std::string& from, const std::string& to) {
    fs::copy(folder_ / from, folder_ / to, fs::copy_options::recursive);
    for (const fs::path& checkpoint : checkpoints(to))
      if (checkpoint.filename() != "step-000020") fs::remove_all(checkpoint);
  }
  // Of runs of this name.
  static void expect_each_goes_on_from_each_other(const std::string& kind, const std::vector<Layout>& layouts,
                                                  const std::vector<std::string>& settings) {
    const auto whole = [&](const Layout& layout) { return kind + "_" + layout.name; };
    const std::string reference = whole(layouts.front());
    for (const Layout& layout : layouts) {
      const Outcome outcome = run(layout, whole(layout), settings);
      ASSERT_EQ(outcome.exit_code, 0) << whole(layout) << ": " << outcome.err;
      expect_follows(reference, whole(layout), !layout.shares);
    }
    for (const Layout& first : layouts)
      for (const Layout& second : layouts) {
        if (first.name == second.name) continue;
        const std::string name = whole(first) + "_" + second.name;
        copy_until_20(whole(first), name);
        const Outcome ended = run(second, name, settings);
        ASSERT_EQ(ended.exit_code, 0) << name << ": " << ended.err;
        EXPECT_TRUE(has(ended.err, "step-000020")) << ended.err;
        expect_follows(reference, name, !first.shares && !second.shares);
        fs::remove_all(folder_ / name);
      }
  }
};

TEST_F(Layouts, DenseGoesOnFromEachOther) {
  expect_each_goes_on_from_each_other(
      "dense",
      {kOne, kData, kGradients, kValues, kTensor, kPipeline, kDataTensor, kDataPipeline, kTensorPipeline},
      {});
}

TEST_F(Layouts, ExpertsGoOnFromEachOther) {
  expect_each_goes_on_from_each_other(
      "experts", {kOne, kTensor, kDataPipeline, kExpert, kContextExpert},
      {"--set", "model.experts.count=4", "--set", "model.experts.balance_loss=0.01", "--set",
       "model.experts.bias_rate=0.001"});
}

// Stopped in the middle of an interval, with half of the scores gathered.
TEST_F(Layouts, SparseWeightsGoOnFromEachOther) {
  std::vector<std::string> rigl;
  for (const char* setting :
       {"sparsity.method=rigl", "sparsity.sparsity=0.8", "sparsity.interval=8", "sparsity.scoring_steps=8"})
    rigl.insert(rigl.end(), {"--set", setting});
  expect_each_goes_on_from_each_other("rigl", {kOne, kData, kGradients, kPipeline, kDataPipeline}, rigl);
}

}  // namespace
}  // namespace fern
