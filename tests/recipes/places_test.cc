#include "recipes/places.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

std::string message_of(const Error& error) {
  Recipe recipe;
  recipe.file = "a.toml";
  recipe.places = {{"sparsity.method", "--set sparsity.method=static"}, {"sparsity.m", "a.toml:7"}};
  try {
    with_places(recipe, [&] { throw error; });
  } catch (const Error& placed) {
    EXPECT_EQ(placed.code(), error.code());
    return placed.what();
  }
  return "";
}

std::string message_of(const std::string& text) { return message_of(Error(ExitCode::kBadUsage, text)); }

TEST(Places, AreOfTheFirstKeyThatTheRecipeSets) {
  EXPECT_EQ(message_of("sparsity.m = 4: too many"), "a.toml:7: sparsity.m = 4: too many");
  EXPECT_EQ(message_of("sparsity.n = 5: expected 1 to sparsity.m, with sparsity.method."),
            "a.toml:7: sparsity.n = 5: expected 1 to sparsity.m, with sparsity.method.");
  EXPECT_EQ(message_of("no \"sparsity.method\"."), "--set sparsity.method=static: no \"sparsity.method\".");
}

TEST(Places, AreTheFileWhereDefaultsAreInForce) {
  EXPECT_EQ(message_of("sparsity.block: 3 x 3"), "a.toml: sparsity.block: 3 x 3");
}

TEST(Places, AreNotAddedToWhatNamesNoKey) {
  EXPECT_EQ(message_of("model.layers.0.mlp.up_proj.weight is sparse there"),
            "model.layers.0.mlp.up_proj.weight is sparse there");
  EXPECT_EQ(message_of(Error(ExitCode::kFailed, "sparsity.m: disk full")), "sparsity.m: disk full");
}

TEST(Places, LeaveWhatComesBackAsItIs) {
  EXPECT_EQ(with_places(Recipe(), [] { return 3; }), 3);
}

}  // namespace
}  // namespace fern
