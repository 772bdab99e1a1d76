#include "tests/framework/checkpoint/fixture.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

TEST(Checkpoint, RoundTripRestoresEverything) {
  const fs::path folder = fresh_folder("round-trip");
  SmallModel saved, loaded;
  saved.fill(1);
  write_bytes(folder / "tokenizer", "pieces");
  CheckpointContents contents = saved.contents(7);
  contents.tokenizer_model = folder / "tokenizer";
  const fs::path checkpoint = save_checkpoint(folder, contents);
  EXPECT_EQ(checkpoint, folder / "step-000007");

  const Manifest manifest = read_manifest(checkpoint);
  load_checkpoint(checkpoint, manifest, loaded.parameters, loaded.first, loaded.second);
  EXPECT_EQ(loaded.values(), saved.values());
  EXPECT_EQ(loaded.first, saved.first);
  EXPECT_EQ(loaded.second, saved.second);
  EXPECT_EQ(load_ledger(checkpoint), contents.ledger);
  EXPECT_EQ(bytes_of(checkpoint / "tokenizer.model"), "pieces");
}

TEST(Checkpoint, ManifestSaysWhatWasSaved) {
  SmallModel saved;
  saved.fill(1);
  const CheckpointContents contents = saved.contents(7);
  const Manifest manifest = read_manifest(save_checkpoint(fresh_folder("manifest"), contents));
  EXPECT_EQ(manifest.step, 7);
  EXPECT_EQ(manifest.updates, 6);
  EXPECT_EQ(manifest.skipped_in_a_row, 1);
  EXPECT_EQ(manifest.model, contents.manifest.model);
  EXPECT_EQ(manifest.recipe, contents.manifest.recipe);
  EXPECT_EQ(manifest.tokenizer_sha256, "ab12");
  EXPECT_EQ(manifest.weights_hash, weights_hash(saved.parameters));
  EXPECT_EQ(manifest.optimizer_hash.size(), 32u);
  EXPECT_EQ(manifest.parameters, saved.parameters.elements());
  EXPECT_EQ(manifest.nonzeros, saved.parameters.elements());
  EXPECT_EQ(manifest.state, contents.manifest.state);
}

TEST(Checkpoint, MomentsOfASliceAreAPartOfTheWhole) {
  SmallModel saved, loaded;
  saved.fill(2);
  const fs::path checkpoint = save_checkpoint(fresh_folder("slice"), saved.contents(1));
  const int64_t padded = saved.parameters.padded_elements();
  ASSERT_GE(padded, 2 * kParameterChunk);
  for (const Slice slice : {Slice{0, kParameterChunk}, Slice{kParameterChunk, padded}}) {
    std::vector<float> first(static_cast<size_t>(slice.elements())), second(first.size());
    load_checkpoint(checkpoint, read_manifest(checkpoint), loaded.parameters, loaded.parameters, first,
                    second, slice);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), saved.first.begin() + slice.begin));
    EXPECT_TRUE(std::equal(second.begin(), second.end(), saved.second.begin() + slice.begin));
  }
}

TEST(Checkpoint, TheSameContentsAreTheSameBytes) {
  SmallModel saved;
  saved.fill(3);
  const fs::path a = save_checkpoint(fresh_folder("same-a"), saved.contents(1));
  const fs::path b = save_checkpoint(fresh_folder("same-b"), saved.contents(1));
  ASSERT_EQ(names_in(a),
            (std::vector<std::string>{"ledger.json", "manifest.json", "optimizer.h5", "weights.h5"}));
  for (const std::string& name : names_in(a)) EXPECT_EQ(bytes_of(a / name), bytes_of(b / name)) << name;
}

TEST(Checkpoint, OneBitOfAWeightChangesTheWeightsHash) {
  SmallModel model;
  model.fill(4);
  const std::string before = weights_hash(model.parameters);
  model.parameters.values().as<float>()[100] += 1e-6f;
  EXPECT_NE(weights_hash(model.parameters), before);
}

TEST(Checkpoint, WithoutMomentsItHasNoOptimizer) {
  SmallModel saved, loaded;
  saved.fill(5);
  CheckpointContents contents = saved.contents(1);
  contents.first_moment = contents.second_moment = {};
  const fs::path checkpoint = save_checkpoint(fresh_folder("weights-only"), contents);
  EXPECT_FALSE(fs::exists(checkpoint / "optimizer.h5"));
  verify_checkpoint(checkpoint);
  const Manifest manifest = read_manifest(checkpoint);
  load_checkpoint(checkpoint, manifest, loaded.parameters, {}, {});
  EXPECT_EQ(loaded.values(), saved.values());
  const std::string error = error_of(
      [&] { load_checkpoint(checkpoint, manifest, loaded.parameters, loaded.first, loaded.second); });
  EXPECT_NE(error.find("no optimizer state"), std::string::npos) << error;
}

TEST(Checkpoint, AnotherModelIsNamed) {
  SmallModel saved, deeper(3), wider(2, 32), shallower(1);
  const fs::path checkpoint = save_checkpoint(fresh_folder("foreign"), saved.contents(1));
  const Manifest manifest = read_manifest(checkpoint);
  const auto error_into = [&](SmallModel& model) {
    return error_of([&] { load_checkpoint(checkpoint, manifest, model.parameters, {}, {}); });
  };
  EXPECT_NE(error_into(deeper).find("it has no model.layers.2."), std::string::npos) << error_into(deeper);
  EXPECT_NE(error_into(shallower).find("this one has no model.layers.1."), std::string::npos);
  const std::string error = error_into(wider);
  EXPECT_NE(error.find("2 layers"), std::string::npos) << error;
  EXPECT_NE(error.find("[200, 24] there and [200, 32]"), std::string::npos) << error;
}

TEST(Checkpoint, ModelDifferenceNamesTheFields) {
  const nlohmann::json theirs{{"layers", 8}, {"hidden", 256}, {"heads", 4}, {"context", 512}};
  nlohmann::json ours = theirs;
  EXPECT_EQ(model_difference(theirs, ours), "");
  ours["context"] = 1024;
  EXPECT_EQ(model_difference(theirs, ours), "");
  ours["qk_norm"] = true;
  EXPECT_EQ(model_difference(theirs, ours), "qk_norm false (here true)");
  ours.erase("qk_norm");
  ours["layers"] = 6;
  ours["hidden"] = 128;
  EXPECT_EQ(model_difference(theirs, ours), "layers 8 (here 6), hidden 256 (here 128)");
}

}  // namespace
}  // namespace fern
