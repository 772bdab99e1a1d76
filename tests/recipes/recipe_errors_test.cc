#include "tests/recipes/fixture.h"

namespace fern {
namespace {

// Each is refused with a message that holds every part.
struct Refused {
  std::string name;
  std::vector<std::string> overrides;
  std::vector<std::string> parts;
};

class RecipeRefuses : public testing::TestWithParam<Refused> {};

TEST_P(RecipeRefuses, WithAMessageThatSaysWhatWouldDo) {
  const std::string message = refusal(write_recipe("small.toml", kSmallRecipe), GetParam().overrides);
  for (const std::string& part : GetParam().parts)
    EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in: " << message;
}

const Refused kRefused[] = {
    {"UnknownKey", {"model.layres=4"}, {"--set model.layres=4", "\"layers\"", "hidden, heads"}},
    {"KeyOfAnotherSection", {"train.learning_rate=1"}, {"\"optimizer.learning_rate\""}},
    {"UnknownSection", {"modle.layers=4"}, {"[modle]", "\"model\"", "optimizer"}},
    {"ValueForASection", {"model=4"}, {"section [model]", "got a value"}},
    {"StringForAnInteger", {"model.layers=four"}, {"expected an integer, 1 to 1024", "got a string", "four"}},
    {"FractionForAnInteger", {"model.layers=1.5"}, {"expected an integer", "a number with a fraction"}},
    {"NumberForABoolean", {"model.tie_embeddings=1"}, {"expected true or false", "got an integer"}},
    {"StringForAList", {"data.languages=am"}, {"expected a list of strings", "got a string"}},
    {"NumberInAListOfStrings", {"data.languages=[1]"}, {"expected a list of strings"}},
    {"UnclosedList", {"data.languages=[am"}, {"not TOML"}},
    {"ExtendsAsAnOverride", {"extends=other.toml"}, {"extends belongs in the recipe file"}},
    {"MoreSequencesThanAnyStepHas",
     {"batch.sequences=99999999999"},
     {"expected an integer, 1 to 1048576, got 99999999999"}},
    {"WeightsWithoutASum",
     {"data.balance.rule=weights", "data.balance.weights={am = 1e308, sw = 1e308}"},
     {"finite sum"}},
    {"NoValue", {"model.layers"}, {"expected section.key=value"}},
    {"TooSmall", {"model.layers=0"}, {"expected an integer, 1 to 1024, got 0"}},
    {"TooLarge", {"data.balance.alpha=1.5"}, {"expected a number, 0 to 1, got 1.5"}},
    {"NotANumber", {"optimizer.learning_rate=nan"}, {"optimizer.learning_rate", "got nan"}},
    {"UnknownName", {"optimizer.schedule=cosin"}, {"one of \"constant\"", "did you mean \"cosine\""}},
    {"KeyOfAnotherSectionThatIsNear", {"model.expert.count=4"}, {"did you mean \"experts\""}},
    {"UnknownDtype", {"model.dtype=f16"}, {"\"f32\"", "\"bf16\""}},
    {"Cuda", {"train.device=cuda"}, {"comes later", "\"cpu\""}},
    {"HeadsThatDoNotGoRound", {"parallel.tensor=3"}, {"parallel.tensor = 3", "model.kv_heads = 2", "1, 2"}},
    {"SharesOfGlobalPatterns",
     {"parallel.tensor=2", "sparsity.method=set", "sparsity.global=true"},
     {"parallel.tensor = 2", "sparsity.global = false"}},
    {"SharesOfFetchedPatterns",
     {"parallel.tensor=2", "parallel.zero=3", "sparsity.method=static"},
     {"parallel.tensor = 2", "parallel.zero = 0, 1 or 2"}},
    {"SharesThatCutBlocks",
     {"parallel.tensor=2", "sparsity.method=static", "sparsity.pattern=block", "sparsity.block=32"},
     {"sparsity.block = 32", "parallel.tensor = 2", "one of 1, 2, 4, 8, 16 would"}},
    {"SharesThatCutGroups",
     {"parallel.tensor=2", "sparsity.method=static", "sparsity.pattern=n_of_m", "sparsity.m=64"},
     {"sparsity.m = 64", "one of 1, 2, 4, 8, 16, 32 would"}},
    {"SparsityOfEverything",
     {"sparsity.method=static", "sparsity.sparsity=1"},
     {"--set sparsity.sparsity=1: sparsity.sparsity = 1: expected"}},
    {"SparsityOfAWholeLayer",
     {"sparsity.method=static", "sparsity.layers={q_proj = 1}"},
     {"--set sparsity.layers={q_proj = 1}: sparsity.layers: q_proj = 1: expected"}},
    {"PatternOfAnotherMethod",
     {"sparsity.method=srigl"},
     {"--set sparsity.method=srigl: sparsity.pattern = \"unstructured\": expected \"fan_in\""}},
    {"RunTooShortForAnInterval",
     {"sparsity.method=set"},
     {"small.toml:12: sparsity.interval = 100: expected", "train.steps = 10"}},
    {"Zero4", {"parallel.zero=4"}, {"0 to 3"}},
    {"HeadsNotDividingHidden",
     {"model.heads=5"},
     {"model.heads = 5", "model.hidden = 64", "1, 2, 4, 8, 16, 32"}},
    {"OddHeadSize", {"model.heads=64", "model.kv_heads=1"}, {"heads of 1 values", "1, 2, 4, 8, 16, 32"}},
    {"KvHeadsNotDividingHeads", {"model.kv_heads=3"}, {"model.kv_heads = 3", "1, 2, 4"}},
    {"MoreActiveExpertsThanThereAre",
     {"model.experts.count=4", "model.experts.active=5"},
     {"model.experts.active = 5", "1 to 4"}},
    {"ARouterThatWouldNotLearn",
     {"model.experts.count=4", "model.experts.active=1"},
     {"model.experts.router", "\"switch\""}},
    {"NoLayerWithExperts",
     {"model.experts.count=4", "model.experts.every=3"},
     {"model.experts.every = 3", "1 to 2 (model.layers)"}},
    {"UnknownRouter", {"model.experts.router=swich"}, {"did you mean \"switch\""}},
    {"MicroNotDividingSequences",
     {"batch.micro_sequences=5"},
     {"batch.sequences = 32", "1, 2, 4, 8, 16, 32"}},
    {"ShardsNotDividingMicroBatches", {"batch.reduction_shards=3"}, {"8 micro-batches", "1, 2, 4, 8"}},
    {"ShardsThatCutTheGroupsOfParts",
     {"model.layers=8", "parallel.pipeline=4", "parallel.virtual_stages=2"},
     {"parallel.virtual_stages = 2", "shard of 2 micro-batches", "parallel.pipeline = 4",
      "batch.reduction_shards = 1, 2 "}},
    {"TooFewMicroBatchesForParts",
     {"model.layers=8", "parallel.pipeline=3", "parallel.virtual_stages=2"},
     {"parallel.pipeline = 3", "batch.sequences = 96"}},
    {"RanksNotDividingShards", {"parallel.data=3"}, {"batch.reduction_shards = 4", "1, 2, 4"}},
    {"WarmupLongerThanSteps", {"optimizer.warmup_steps=11"}, {"train.steps = 10"}},
    {"DecayLongerThanSteps",
     {"optimizer.schedule=warmup_stable_decay", "optimizer.decay_steps=11"},
     {"expects 1 to 10", "got 11"}},
    {"DecayWithoutItsSchedule", {"optimizer.decay_steps=2"}, {"only for", "warmup_stable_decay"}},
    {"InstructWithoutTemplates", {"data.templates=\"\""}, {"data.templates is missing"}},
    {"FewerSegmentsThanTheLeast", {"data.max_segments=50"}, {"data.min_segments = 100"}},
    {"WeightsRuleWithoutWeights", {"data.balance.rule=weights"}, {"data.balance.weights is missing"}},
    {"WeightsWithoutTheirRule", {"data.balance.weights={am = 1}"}, {"only for"}},
    {"NegativeWeight",
     {"data.balance.rule=weights", "data.balance.weights={am = -1}"},
     {"data.balance.weights"}},
    {"OnlyZeroWeights",
     {"data.balance.rule=weights", "data.balance.weights={am = 0}"},
     {"at least one weight above 0"}},
};

INSTANTIATE_TEST_SUITE_P(All, RecipeRefuses, testing::ValuesIn(kRefused),
                         [](const auto& info) { return info.param.name; });

TEST(RecipeErrors, NameFileAndLine) {
  const auto file = write_recipe("bad.toml", std::string(kSmallRecipe) + "[batch]\nsequences = \"many\"\n");
  EXPECT_NE(refusal(file).find(file.string() + ":14: batch.sequences"), std::string::npos) << refusal(file);
}

TEST(RecipeErrors, NameTheLineOfASparsity) {
  const auto file = write_recipe(
      "bad.toml", std::string(kSmallRecipe) + "[sparsity]\nmethod = \"static\"\nsparsity = 1.0\n");
  EXPECT_NE(refusal(file).find(file.string() + ":15: sparsity.sparsity = 1: expected"), std::string::npos)
      << refusal(file);
}

TEST(RecipeErrors, NameTheLineOfAnUnknownKey) {
  const auto file = write_recipe("bad.toml", std::string(kSmallRecipe) + "\nstep = 3\n");
  EXPECT_NE(refusal(file).find(file.string() + ":14: unknown key train.step"), std::string::npos)
      << refusal(file);
}

TEST(RecipeErrors, NameTheBaseFileWhenTheMistakeIsThere) {
  const auto base = write_recipe("bad_base.toml", "[model]\nlayers = -1\n");
  const auto child = write_recipe("child.toml", "extends = \"bad_base.toml\"\n");
  EXPECT_NE(refusal(child).find("bad_base.toml:2: model.layers"), std::string::npos) << refusal(child);
}

TEST(RecipeErrors, RefuseACircleOfExtends) {
  write_recipe("a.toml", "extends = \"b.toml\"\n");
  const auto file = write_recipe("b.toml", "extends = \"a.toml\"\n");
  EXPECT_NE(refusal(file).find("circle"), std::string::npos) << refusal(file);
}

TEST(RecipeErrors, RefuseAMissingFile) {
  EXPECT_NE(refusal("/nowhere/x.toml").find("/nowhere/x.toml: no such recipe"), std::string::npos);
}

TEST(RecipeErrors, RefuseTextThatIsNotToml) {
  const auto file = write_recipe("bad.toml", "[model]\nlayers = = 2\n");
  EXPECT_NE(refusal(file).find(file.string() + ":2: not TOML"), std::string::npos) << refusal(file);
}

TEST(RecipeErrors, NameARequiredKeyThatIsMissing) {
  const auto file = write_recipe("empty.toml", "");
  EXPECT_NE(refusal(file).find("model.layers is missing"), std::string::npos) << refusal(file);
}

}  // namespace
}  // namespace fern
