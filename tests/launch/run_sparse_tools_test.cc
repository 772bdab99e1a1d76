// What is done with sparse checkpoints outside training, as a user would do it.
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

class SparseTools : public Run {
 protected:
  static void SetUpTestSuite() {
    Run::SetUpTestSuite();
    const Outcome outcome =
        run_fern(train("static", {"--set", "train.steps=6", "--set", "sparsity.method=static", "--set",
                                  "sparsity.sparsity=0.8"}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  static nlohmann::json inspected(const fs::path& path) {
    const Outcome outcome = run_fern({"inspect", path.string(), "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out);
  }
};

TEST_F(SparseTools, ExportAndImportKeepWeightsAndPatterns) {
  const Outcome exported = run_fern({"export", path("static"), "--out", path("exported")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const Outcome imported = run_fern({"import", path("exported"), "--out", path("imported")});
  ASSERT_EQ(imported.exit_code, 0) << imported.err;
  const auto before = inspected(path("static"));
  for (const std::string name : {"exported", "imported/step-000000"}) {
    const auto after = inspected(path(name));
    for (const char* key : {"weights_hash", "topology_hash", "nonzeros", "parameters", "sparsity"})
      EXPECT_EQ(after.at(key), before.at(key)) << name << ": " << key;
  }
}

TEST_F(SparseTools, PruneKeepsTheBudgetAndTheStep) {
  const Outcome outcome = run_fern({"prune", path("whole"), "--out", path("pruned"), "--sparsity", "0.75",
                                    "--pattern", "block", "--block", "4"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "mlp.up_proj.weight")) << outcome.out;
  const auto dense = inspected(path("whole"));
  const auto pruned = inspected(folder_ / "pruned" / checkpoints("whole").back().filename());
  EXPECT_EQ(pruned.at("step"), dense.at("step"));
  EXPECT_TRUE(pruned.at("optimizer_hash").is_null());
  for (const auto& [name, entry] : pruned.at("sparsity").items())
    EXPECT_NEAR(entry.at("density").get<double>(), 0.25, 0.02) << name;
  const Outcome evaluated = run_fern({"evaluate", path("pruned")});
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.err;
}

TEST_F(SparseTools, PruneOfWhatDensifyMadeFindsTheSameWeights) {
  ASSERT_EQ(run_fern({"densify", path("static"), "--out", path("dense")}).exit_code, 0);
  const fs::path step = checkpoints("static").back().filename();
  const auto before = inspected(path("static")), dense = inspected(folder_ / "dense" / step);
  EXPECT_TRUE(dense.at("topology_hash").is_null());
  EXPECT_EQ(dense.at("nonzeros"), before.at("parameters"));
  ASSERT_EQ(run_fern({"prune", path("dense"), "--out", path("again"), "--sparsity", "0.8"}).exit_code, 0);
  const auto after = inspected(folder_ / "again" / step);
  EXPECT_EQ(after.at("topology_hash"), before.at("topology_hash"));
  EXPECT_EQ(after.at("weights_hash"), before.at("weights_hash"));
}

TEST_F(SparseTools, InspectTakesTheFolderThatPruneWrote) {
  ASSERT_EQ(run_fern({"prune", path("whole"), "--out", path("folder")}).exit_code, 0);
  const fs::path step = checkpoints("whole").back().filename();
  EXPECT_EQ(inspected(path("folder")), inspected(folder_ / "folder" / step));
}

TEST_F(SparseTools, PruneByRuleNeedsNoSparsity) {
  const Outcome outcome =
      run_fern({"prune", path("whole"), "--out", path("nm"), "--pattern", "n_of_m", "--n", "1", "--m", "4"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto pruned = inspected(folder_ / "nm" / checkpoints("whole").back().filename());
  for (const auto& [name, entry] : pruned.at("sparsity").items())
    EXPECT_EQ(entry.at("density").get<double>(), 0.25) << name;
}

TEST_F(SparseTools, WhatCannotBePrunedIsRefused) {
  const auto expect_refused = [](const std::vector<std::string>& words, const std::string& text) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--out", path("refused")});
    const Outcome outcome = run_fern(all);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_TRUE(has(outcome.err, text)) << outcome.err;
    EXPECT_FALSE(has(outcome.err, "sparsity.")) << outcome.err;
  };
  expect_refused({"prune", path("static")}, "sparse already");
  expect_refused({"densify", path("whole")}, "dense already");
  expect_refused({"prune", path("whole"), "--pattern", "block", "--block", "7"},
                 "--block: blocks of 7 x 7 do not divide");
  expect_refused({"prune", path("whole"), "--sparsity", "1"}, "--sparsity 1: expected the share");
  for (const std::string sparsity : {"0", "1e-300"})
    expect_refused({"prune", path("whole"), "--sparsity", sparsity},
                   "--sparsity " + sparsity + ": expected a share that removes at least one of ");
  expect_refused({"prune", path("whole"), "--pattern", "n_of_m", "--sparsity", "0"}, "--n 2 and --m 4 mean");
  expect_refused({"prune", path("whole"), "--pattern", "n_of_m", "--sparsity", "0.9"},
                 "--sparsity 0.9: expected 0.5");
  expect_refused({"prune", path("whole"), "--pattern", "n_of_m", "--n", "4"},
                 "--n 4: expected fewer than --m 4");
  expect_refused({"prune", path("whole"), "--pattern", "n_of_m", "--n", "5"},
                 "--n 5: expected 1 to 4 of every --m 4 weights");
  expect_refused({"prune", path("whole"), "--pattern", "n_of_m", "--m", "3"},
                 "--m 3: expected a divisor of the ");
  expect_refused({"prune", path("whole"), "--pattern", "n_of_m", "--distribution", "erdos_renyi"},
                 "--distribution \"erdos_renyi\": expected \"uniform\" with --pattern \"n_of_m\"");
  expect_refused({"prune", path("whole"), "--pattern", "fan_in", "--global"},
                 "--global: expected --pattern unstructured or block");
  expect_refused({"prune", path("whole"), "--method", "rigl"}, "expected one of magnitude, random");
  expect_refused({"prune", path("whole"), "--pattern", "butterfly"}, "expected one of unstructured, block");
  expect_refused({"prune", path("whole"), "--pattern", "blok"}, "did you mean");
  expect_refused({"prune", path("whole"), "--n", "1"}, "expected --pattern n_of_m");
  expect_refused({"prune", path("whole"), "--block", "4"}, "expected --pattern block");
  EXPECT_FALSE(fs::exists(path("refused")));
}

TEST_F(SparseTools, ACheckpointIsNotReplaced) {
  ASSERT_EQ(run_fern({"prune", path("whole"), "--out", path("once")}).exit_code, 0);
  const Outcome outcome = run_fern({"prune", path("whole"), "--out", path("once")});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "is there already")) << outcome.err;
}

// Told before the source is looked for.
TEST_F(SparseTools, WeightsGoIntoAFolderOfTheirOwn) {
  fs::create_directories(folder_ / "begun" / "checkpoints");
  fs::copy(checkpoints("whole").back(), folder_ / "copied");
  const std::string step = "whole/checkpoints/" + checkpoints("whole").back().filename().string();
  const struct {
    std::string out, reason, instead;
  } refused[] = {{"whole", "it is a run folder", "whole-weights"},
                 {"begun", "it is a run folder", "begun-weights"},
                 {"whole/checkpoints/", "it holds the checkpoints of the run", "whole-weights"},
                 {step, "it is a checkpoint", "whole-weights"},
                 {step + "/weights/new", "it lies in the checkpoint", "whole-weights"},
                 {"copied", "it is a checkpoint", "copied-weights"},
                 {"recipe.toml", "it is a file", "recipe.toml-weights"}};
  const auto before = inspected(path("whole"));
  for (const auto& [out, reason, instead] : refused)
    for (const std::string command : {"prune", "densify", "import"}) {
      const Outcome outcome = run_fern({command, path("nowhere"), "--out", path(out)});
      EXPECT_EQ(outcome.exit_code, 2) << command << " " << out;
      EXPECT_TRUE(has(outcome.err, "--out " + path(out) + ": " + reason)) << outcome.err;
      EXPECT_TRUE(has(outcome.err, "such as " + (fs::canonical(folder_) / instead).string())) << outcome.err;
    }
  EXPECT_EQ(inspected(path("whole")), before);
  ASSERT_EQ(run_fern({"prune", path("whole"), "--out", path("whole/pruned")}).exit_code, 0);
  EXPECT_EQ(inspected(path("whole")), before);
}

TEST_F(SparseTools, ASparsityThatLeavesAMatrixNothingIsRefusedByOption) {
  const Outcome outcome = run_fern({"prune", path("whole"), "--out", path("none"), "--sparsity", "0.99999"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(has(outcome.err, "--sparsity 0.99999: ") && has(outcome.err, "smaller blocks (--block)"))
      << outcome.err;
}

}  // namespace
}  // namespace fern
