#include "recipes/doubts.h"

#include "tests/recipes/fixture.h"

namespace fern {
namespace {

// Four experts of which each of the 128 tokens of a micro-batch takes two.
std::vector<std::string> doubts_of(std::vector<std::string> settings) {
  settings.insert(settings.begin(), {"model.experts.count=4", "model.experts.active=2"});
  return doubts(read_recipe(write_recipe("small.toml", kSmallRecipe), settings));
}

TEST(Doubts, SayWhatShareACapacityDrops) {
  const auto half = doubts_of({"model.experts.capacity_factor=0.5"});
  ASSERT_EQ(half.size(), 1u);
  EXPECT_NE(half[0].find(
                "--set model.experts.capacity_factor=0.5: model.experts.capacity_factor = 0.5: of the "
                "256 (token, choice) pairs of a full micro-batch experts take 128 at most, so at least 50 %"),
            std::string::npos)
      << half[0];
  const auto hardly_any = doubts_of({"model.experts.capacity_factor=1e-9"});
  ASSERT_EQ(hardly_any.size(), 1u);
  EXPECT_NE(hardly_any[0].find("take 4 at most, so at least 98.44 %"), std::string::npos) << hardly_any[0];
}

TEST(Doubts, NameWeightsThatOutweighTheLoss) {
  for (const std::string key : {"balance_loss", "z_loss", "bias_rate"}) {
    const auto lines = doubts_of({"model.experts." + key + "=1000"});
    ASSERT_EQ(lines.size(), 1u) << key;
    EXPECT_EQ(lines[0].find("--set model.experts." + key + "=1000: model.experts." + key + " = 1000: "), 0u)
        << lines[0];
  }
}

TEST(Doubts, AreNoneOfWhatIsUsual) {
  EXPECT_TRUE(doubts_of({}).empty());
  EXPECT_TRUE(doubts_of({"model.experts.capacity_factor=1", "model.experts.balance_loss=0.1",
                         "model.experts.z_loss=0.01", "model.experts.bias_rate=0.01"})
                  .empty());
}

TEST(Doubts, AreNoneOfExpertsThatThereAreNot) {
  EXPECT_TRUE(doubts_of({"model.experts.count=0", "model.experts.capacity_factor=1e-9"}).empty());
}

}  // namespace
}  // namespace fern
