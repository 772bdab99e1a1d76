// Training that starts from another model's weights or patterns. At rate 0 the model stays what it began as.
#include <map>
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

class InitialModel : public Run {
 protected:
  static void SetUpTestSuite() {
    Run::SetUpTestSuite();
    const Outcome outcome =
        run_fern(train("source", set({"train.steps=6", "sparsity.method=static", "sparsity.sparsity=0.8"})));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  // What `fern inspect` says of a run of one step at rate 0.
  static nlohmann::json beginning(const std::string& run, std::vector<std::string> settings) {
    settings.insert(settings.begin(),
                    {"train.steps=1", "optimizer.schedule=warmup_stable_decay", "optimizer.decay_steps=1",
                     "optimizer.warmup_steps=0", "optimizer.final_fraction=0"});
    const Outcome outcome = run_fern(train(run, set(settings)));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return inspected(folder_ / run);
  }
  static nlohmann::json inspected(const fs::path& path) {
    const Outcome outcome = run_fern({"inspect", path.string(), "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out);
  }
  static void expect_refused(const std::vector<std::string>& settings, const std::string& text) {
    const Outcome outcome = run_fern(train("refused", set(settings)));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_TRUE(has(outcome.err, text)) << outcome.err;
  }
};

TEST_F(InitialModel, ADenseRunBeginsWithASparseModelAndZeros) {
  ASSERT_EQ(run_fern({"densify", path("source"), "--out", path("dense")}).exit_code, 0);
  const auto began = beginning("spdf", {"model.weights=" + path("source")});
  EXPECT_TRUE(began.at("topology_hash").is_null());
  EXPECT_EQ(began.at("weights_hash"),
            inspected(folder_ / "dense" / checkpoints("source").back().filename()).at("weights_hash"));
}

TEST_F(InitialModel, ASparseRunKeepsThePatternsOfASparseModel) {
  const auto source = inspected(folder_ / "source");
  for (const std::string method : {"static", "set", "rigl"}) {
    const auto began =
        beginning("keeps_" + method,
                  {"model.weights=" + path("source"), "sparsity.method=" + method, "sparsity.sparsity=0.5",
                   "sparsity.interval=1", "sparsity.stop=1", "sparsity.scoring_steps=1", "train.steps=2",
                   "sparsity.drop_fraction=1e-9", "optimizer.learning_rate=1e-12", "optimizer.epsilon=1"});
    EXPECT_EQ(began.at("topology_hash"), source.at("topology_hash")) << method;
    EXPECT_EQ(began.at("weights_hash"), source.at("weights_hash")) << method;
  }
}

TEST_F(InitialModel, ASparseRunPrunesADenseModelByMagnitude) {
  ASSERT_EQ(run_fern({"prune", path("whole"), "--out", path("pruned"), "--sparsity", "0.75"}).exit_code, 0);
  const auto pruned = inspected(folder_ / "pruned" / checkpoints("whole").back().filename());
  const auto began = beginning(
      "prunes", {"model.weights=" + path("whole"), "sparsity.method=static", "sparsity.sparsity=0.75"});
  EXPECT_EQ(began.at("topology_hash"), pruned.at("topology_hash"));
  EXPECT_EQ(began.at("weights_hash"), pruned.at("weights_hash"));
}

TEST_F(InitialModel, AFullFirstMatrixDoesNotKeepTheOthersFromBeingPrunedByMagnitude) {
  std::vector<std::string> hashes;
  for (const std::string seed : {"5", "6"})
    hashes.push_back(beginning("first_full_" + seed,
                               {"model.weights=" + path("whole"), "sparsity.method=static",
                                "sparsity.sparsity=0.75", "sparsity.layers={q_proj=0}", "train.seed=" + seed})
                         .at("topology_hash"));
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST_F(InitialModel, PatternsAloneComeWithWeightsOfTheSeed) {
  const auto drawn = beginning("drawn", {"sparsity.method=static", "sparsity.sparsity=0.8"});
  const auto rewound =
      beginning("rewound", {"sparsity.topology=" + path("source"), "sparsity.method=static"});
  EXPECT_EQ(rewound.at("topology_hash"), inspected(folder_ / "source").at("topology_hash"));
  EXPECT_EQ(rewound.at("weights_hash"), drawn.at("weights_hash"));
}

TEST_F(InitialModel, PatternsAndWeightsMayComeFromTwoModels) {
  const auto rewound = beginning("ticket", {"sparsity.topology=" + path("source"),
                                            "model.weights=" + path("whole"), "sparsity.method=static"});
  EXPECT_EQ(rewound.at("topology_hash"), inspected(folder_ / "source").at("topology_hash"));
  EXPECT_NE(rewound.at("weights_hash"), inspected(folder_ / "source").at("weights_hash"));
}

TEST_F(InitialModel, RanksDoNotChangeIt) {
  const std::vector<std::string> settings =
      set({"model.weights=" + path("source"), "sparsity.method=rigl", "sparsity.interval=4",
           "sparsity.scoring_steps=2", "train.steps=12"});
  ASSERT_EQ(run_fern(train("alone", settings)).exit_code, 0);
  const Outcome outcome = run_fern_on(2, train("together", settings));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_equal("alone", "together");
  EXPECT_EQ(inspected(folder_ / "alone").at("nonzeros"), inspected(folder_ / "source").at("nonzeros"));
}

TEST_F(InitialModel, GoesOnWithoutTheModelThatItBeganWith) {
  fs::copy(folder_ / "source", folder_ / "gone", fs::copy_options::recursive);
  fs::copy(folder_ / "whole", folder_ / "gone_dense", fs::copy_options::recursive);
  const std::vector<std::string> rigl = {"model.weights=" + path("gone"), "sparsity.method=rigl",
                                         "sparsity.interval=4", "sparsity.scoring_steps=2"},
                                 pruning = {"model.weights=" + path("gone_dense"), "sparsity.method=gradual",
                                            "sparsity.sparsity=0.8", "sparsity.initial_sparsity=0.3",
                                            "sparsity.interval=4"},
                                 dense = {"model.weights=" + path("gone")};
  const std::map<std::string, std::vector<std::string>> runs = {
      {"rigl", rigl}, {"pruning", pruning}, {"dense", dense}};
  for (auto [name, settings] : runs) {
    settings.insert(settings.end(), {"train.steps=12", "checkpoint.every=6", "checkpoint.keep=0"});
    ASSERT_EQ(run_fern(train(name, set(settings))).exit_code, 0);
    fs::copy(folder_ / name, folder_ / (name + "_on"), fs::copy_options::recursive);
    fs::remove_all(checkpoints(name + "_on").back());
  }
  fs::remove_all(folder_ / "gone");
  fs::remove_all(folder_ / "gone_dense");
  for (auto [name, settings] : runs) {
    settings.insert(settings.end(), {"train.steps=12", "checkpoint.every=6", "checkpoint.keep=0"});
    const Outcome outcome = run_fern(train(name + "_on", set(settings)));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_equal(name, name + "_on");
  }
}

TEST_F(InitialModel, PlanKnowsTheSizes) {
  const Outcome dense = run_fern({"plan", path("recipe.toml"), "--no-calibration"});
  std::vector<std::string> words = {"plan", path("recipe.toml"), "--no-calibration"};
  const std::vector<std::string> settings =
      set({"sparsity.topology=" + path("source"), "sparsity.method=static"});
  words.insert(words.end(), settings.begin(), settings.end());
  const Outcome sparse = run_fern(words);
  ASSERT_EQ(sparse.exit_code, 0) << sparse.err;
  EXPECT_TRUE(has(sparse.out, "patterns")) << sparse.out;
  EXPECT_FALSE(has(dense.out, "patterns")) << dense.out;
}

TEST_F(InitialModel, PlanMeasuresLayersOfASparseModel) {
  std::vector<std::string> words = {"plan", path("recipe.toml")};
  for (const std::string& word : set({"sparsity.topology=" + path("source"), "sparsity.method=static"}))
    words.push_back(word);
  const Outcome outcome = run_fern(words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "tokens/s")) << outcome.out;
}

TEST_F(InitialModel, PlanRefusesAModelThatIsNotThere) {
  const Outcome outcome = run_fern(
      {"plan", path("recipe.toml"), "--no-calibration", "--set", "model.weights=" + path("nowhere")});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.out;
}

TEST_F(InitialModel, PrepareTakesItsTokenizer) {
  const std::vector<std::string> settings = set({"data.kind=pretrain", "data.folder=" + path("running"),
                                                 "train.steps=6", "model.weights=" + path("source")});
  std::vector<std::string> words = {"prepare", path("recipe.toml")};
  words.insert(words.end(), settings.begin(), settings.end());
  const Outcome prepared = run_fern(words);
  ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
  EXPECT_EQ(text_of(folder_ / "running" / "tokenizer.model"),
            text_of(folder_ / "prepared" / "tokenizer.model"));
  const Outcome outcome = run_fern(train("tuned", settings));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(InitialModel, ASizeThatDoesNotFitIsRefusedWithItsPlace) {
  expect_refused({"sparsity.method=static", "sparsity.pattern=block", "sparsity.block=7"},
                 "--set sparsity.block=7: sparsity.block: blocks of 7 x 7 do not divide");
  expect_refused({"sparsity.method=static", "sparsity.layers={nothing=0.5}"},
                 "--set sparsity.layers={nothing=0.5}: sparsity.layers: expected whole parts");
}

TEST_F(InitialModel, KeysThatDoNotCountAreNamedOnce) {
  const std::string told =
                        "sparsity.sparsity (--set sparsity.sparsity=0.5), sparsity.layers (--set "
                        "sparsity.layers={q_proj=0.5}): not used, since which weights exist comes from " +
                        checkpoints("source").back().string() + " (",
                    part = "not used, since which weights exist";
  for (const std::string key : {"model.weights", "sparsity.topology"}) {
    const std::vector<std::string> words =
        train("unused_" + key, set({key + "=" + path("source"), "sparsity.method=static", "train.steps=6",
                                    "sparsity.sparsity=0.5", "sparsity.layers={q_proj=0.5}"}));
    const Outcome outcome = run_fern_on(2, words);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(has(outcome.err, told + key + ")")) << outcome.err;
    EXPECT_EQ(outcome.err.find(part), outcome.err.rfind(part)) << outcome.err;
    const Outcome again = run_fern_on(2, words);
    EXPECT_FALSE(has(again.err, part)) << again.err;
  }
}

TEST_F(InitialModel, DefaultsInARecipeThatARunHasKeptAreNotNamed) {
  const std::vector<std::string> begins =
      set({"model.weights=" + path("source"), "sparsity.method=static", "train.steps=6"});
  ASSERT_EQ(run_fern(train("kept", begins)).exit_code, 0);
  const Outcome outcome = run_fern({"plan", path("kept/recipe.toml"), "--no-calibration"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_FALSE(has(outcome.err, "not used, since")) << outcome.err;
}

TEST_F(InitialModel, KeysThatCountAreNotNamed) {
  for (const std::vector<std::string>& settings :
       {std::vector<std::string>{"model.weights=" + path("whole"), "sparsity.method=static",
                                 "sparsity.sparsity=0.5"},
        {"model.weights=" + path("source"), "sparsity.method=static"},
        {"model.weights=" + path("source"), "sparsity.sparsity=0.5"}}) {
    std::vector<std::string> words = {"plan", path("recipe.toml"), "--no-calibration"};
    for (const std::string& word : set(settings)) words.push_back(word);
    const Outcome outcome = run_fern(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_FALSE(has(outcome.err, "not used, since")) << outcome.err;
  }
}

TEST_F(InitialModel, AnotherNumberOfEveryMIsRefused) {
  ASSERT_EQ(run_fern({"prune", path("whole"), "--out", path("two_of_four"), "--pattern", "n_of_m"}).exit_code,
            0);
  expect_refused({"sparsity.topology=" + path("two_of_four"), "sparsity.method=set", "sparsity.n=1",
                  "sparsity.pattern=n_of_m", "sparsity.interval=5"},
                 "does not keep the rule");
}

TEST_F(InitialModel, WhatDoesNotFitIsRefused) {
  const std::string weights = "model.weights=" + path("source"),
                    topology = "sparsity.topology=" + path("source");
  expect_refused({weights, "model.layers=3"}, "2 (here 3)");
  expect_refused({weights, "sparsity.method=magnitude", "sparsity.sparsity=0.5"}, "prunes what is dense");
  expect_refused({weights, "sparsity.method=magnitude", "sparsity.sparsity=0.5"},
                 "--set sparsity.method=magnitude: ");
  expect_refused({weights, "sparsity.method=static", "sparsity.pattern=block", "sparsity.block=4"},
                 "blocks of 1 x 1 there and of 4 x 4 here");
  expect_refused({weights, "sparsity.method=static", "sparsity.attention=false"}, "dense here");
  expect_refused({weights, "sparsity.method=set", "sparsity.pattern=fan_in", "sparsity.interval=5"},
                 "does not keep the rule");
  expect_refused({topology}, "sparsity.topology");
  expect_refused({"sparsity.topology=" + path("whole"), "sparsity.method=static"}, "which is dense");
  expect_refused({topology, "sparsity.method=static", "model.layers=1"}, "give this recipe its sizes");
  expect_refused({"model.weights=" + path("nowhere")}, "expected a run folder");
}

}  // namespace
}  // namespace fern
