#include "recipes/recipe.h"

#include "recipes/fields.h"
#include "recipes/recipe_text.h"
#include "tests/recipes/fixture.h"

namespace fern {
namespace {

TEST(Recipe, ReadsGivenValuesAndKeepsDefaults) {
  const Recipe recipe = read_recipe(write_recipe("small.toml", kSmallRecipe), {});
  EXPECT_EQ(recipe.model.hidden, 64);
  EXPECT_EQ(recipe.train.steps, 10);
  EXPECT_EQ(recipe.schedule.steps, 10);
  EXPECT_EQ(recipe.train.reduction_shards, recipe.batch.reduction_shards);
  EXPECT_EQ(recipe.batch.sequences, BatchConfig{}.sequences);
  EXPECT_EQ(recipe.mesh.data, 0);
  EXPECT_EQ(recipe.name(), "small");
}

TEST(Recipe, ExtendingOverridesTheBaseKeyByKey) {
  write_recipe("base.toml", kSmallRecipe);
  const auto file = write_recipe("child.toml", "extends = \"base.toml\"\n[model]\nlayers = 3\n");
  const Recipe recipe = read_recipe(file, {});
  EXPECT_EQ(recipe.model.layers, 3);
  EXPECT_EQ(recipe.model.hidden, 64);
}

TEST(Recipe, TemplatesAreFoundBesideTheFileThatNamesThem) {
  write_recipe("base.toml", kSmallRecipe);
  const auto folder = std::filesystem::path(testing::TempDir()) / "recipes";
  std::filesystem::create_directories(folder / "below");
  std::ofstream(folder / "below" / "child.toml") << "extends = \"../base.toml\"\n";
  const Recipe recipe = read_recipe(folder / "below" / "child.toml", {});
  EXPECT_EQ(recipe.templates_folder(), std::filesystem::absolute(folder / "templates"));
}

TEST(Recipe, MayBeNamedWithoutAFolder) {
  const auto file = write_recipe("small.toml", kSmallRecipe);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(file.parent_path());
  const Recipe recipe = read_recipe("small.toml", {});
  std::filesystem::current_path(before);
  EXPECT_EQ(recipe.templates_folder(), file.parent_path() / "templates");
}

TEST(Recipe, OverridesTakeTomlValuesAndBareWords) {
  const auto file = write_recipe("small.toml", kSmallRecipe);
  const Recipe recipe = read_recipe(
      file, {"model.layers=5", "data.folder=data/x-1", "optimizer.learning_rate=1e-3",
             "data.languages=[\"am\", \"sw\"]", "optimizer.schedule=linear", "model.tie_embeddings = false"});
  EXPECT_EQ(recipe.model.layers, 5);
  EXPECT_EQ(recipe.data.folder, "data/x-1");
  EXPECT_DOUBLE_EQ(recipe.schedule.peak, 1e-3);
  EXPECT_EQ(recipe.data.languages, (std::vector<std::string>{"am", "sw"}));
  EXPECT_EQ(recipe.schedule.kind, ScheduleKind::kLinear);
  EXPECT_FALSE(recipe.model.tie_embeddings);
}

TEST(Recipe, LaterOverridesWin) {
  const auto file = write_recipe("small.toml", kSmallRecipe);
  EXPECT_EQ(read_recipe(file, {"model.layers=5", "model.layers=6"}).model.layers, 6);
}

TEST(Recipe, NumbersMayBeWrittenAsIntegers) {
  const auto file = write_recipe("small.toml", kSmallRecipe);
  EXPECT_DOUBLE_EQ(read_recipe(file, {"optimizer.clip_norm=2"}).train.clip_norm, 2.0);
}

TEST(Recipe, WrittenTomlReadsBackToAnEqualRecipe) {
  const auto file = write_recipe("small.toml", kSmallRecipe);
  const Recipe recipe =
      read_recipe(file, {"data.balance.rule=weights", "data.balance.weights={am = 2, zh-Hant = 0.5}",
                         "optimizer.epsilon=1e-8", "data.segments=[\"a \\\"quoted\\\" \\\\ name\", \"b\"]",
                         "train.seed=123456789012345678", "optimizer.schedule=warmup_stable_decay",
                         "optimizer.decay_steps=3", "model.norm_epsilon=1e-6"});
  const Recipe again = read_recipe(write_recipe("again.toml", to_toml(recipe)), {});
  for (const Field& field : fields()) EXPECT_EQ(value_of(field, recipe), value_of(field, again)) << field.key;
  EXPECT_EQ(to_toml(recipe), to_toml(again));
  EXPECT_EQ(to_toml(recipe), to_toml(recipe_of_text(to_toml(recipe), "manifest.json")));
}

TEST(Recipe, OfATextNamesWhereItIsKept) {
  try {
    recipe_of_text("[model]\nlayers = \"four\"\n", "step-000007/manifest.json");
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("step-000007/manifest.json:2"), std::string::npos)
        << error.what();
  }
}

TEST(Recipe, EveryKeyCanBeAssigned) {
  Recipe recipe;
  for (const Field& field : fields()) {
    const Value value = value_of(field, Recipe{});
    assign(field, recipe, value);
    EXPECT_EQ(value_of(field, recipe), value) << field.key;
  }
}

TEST(Recipe, HelpNamesEveryKeyWithItsMeaning) {
  const std::string help = recipe_help();
  for (const Field& field : fields()) {
    EXPECT_NE(help.find("\n  " + std::string(field.name())), std::string::npos) << field.key;
    EXPECT_FALSE(field.meaning.empty()) << field.key;
    Recipe scratch;
    const Place place = field.place(scratch);
    const bool quantity = std::holds_alternative<int64_t*>(place) || std::holds_alternative<double*>(place);
    EXPECT_FALSE(quantity && field.least < field.most && field.raising.empty()) << field.key;
  }
}

TEST(Recipe, TellsWhichKeysChangeTheResult) {
  const auto file = write_recipe("small.toml", kSmallRecipe);
  const Recipe before = read_recipe(file, {});
  const Recipe after = read_recipe(
      file, {"model.layers=3", "train.steps=20", "checkpoint.every=7", "train.threads=2", "parallel.zero=1"});
  EXPECT_EQ(changes_of_the_result(before, after),
            std::vector<std::string>{"model.layers is 2 there and 3 here"});
}

TEST(Recipe, WeightsFollowTheOrderOfLanguages) {
  const auto file = write_recipe("small.toml", kSmallRecipe);
  const Recipe recipe =
      read_recipe(file, {"data.balance.rule=weights", "data.balance.weights={sw = 1, am = 2}"});
  EXPECT_EQ(balance_for(recipe.data, {"am", "ha", "sw"}).weights, (std::vector<double>{2, 0, 1}));
  EXPECT_THROW(balance_for(recipe.data, {"am", "ha"}), Error);
}

TEST(Recipe, TheRecipesOfTheTreeAreAccepted) {
  for (const char* name :
       {"instruct/quickstart.toml", "instruct/workstation.toml", "pretrain/quickstart_pretrain.toml",
        "sparse/quickstart_sparse.toml", "sparse/equal_budget.toml"})
    EXPECT_EQ(refusal(std::filesystem::path(FERN_SOURCE_ROOT) / "recipes" / name), "");
}

}  // namespace
}  // namespace fern
