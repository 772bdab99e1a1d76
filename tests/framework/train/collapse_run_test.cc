// A corpus of two languages, 95 % and 5 % of it, whose minority's routing has collapsed: found by name, and
// corrected where the recipe asks for it.
#include <gtest/gtest.h>

#include "framework/train/expert_training.h"
#include "tests/framework/train/tiny_run.h"

namespace fern {
namespace {

constexpr int64_t kContext = 16, kBatch = 40, kSteps = 200;
constexpr double kMinority = 0.05;
constexpr int32_t kFirstOfMinority = 500;  // tokens from here on are the minority's

// Documents in which a token says which comes next, most of the time.
std::vector<Document> documents(int64_t count, int32_t first, uint64_t key) {
  std::vector<Document> all;
  for (int64_t d = 0; d < count; ++d) {
    Document document;
    auto token = static_cast<int32_t>(testing_data::random_number(500, key, static_cast<uint32_t>(d)));
    for (int64_t t = 0; t < kContext; ++t) {
      document.tokens.push_back(first + token);
      document.loss.push_back(t > 0);
      document.text += 'a';
      token = (7 * token + 3) % 500;
    }
    document.loss_bytes = kContext - 1;
    all.push_back(document);
  }
  return all;
}

const testing_data::SmallData& two_languages() {
  static const testing_data::SmallData data = [] {
    const auto folder = testing_data::fresh_folder("two_languages");
    for (const auto& [language, first] : {std::pair{"aa", 0}, {"bb", kFirstOfMinority}})
      testing_data::write_shard(folder / "train" / (std::string(language) + ".gettext.h5"),
                                testing_data::header_for(language, kContext), documents(200, first, 5));
    return testing_data::SmallData(open_languages(folder, "train", std::string(64, 'a'), kContext),
                                   {1 - kMinority, kMinority}, kBatch);
  }();
  return data;
}

TinyOptions options(bool correct) {
  TinyOptions options;
  options.data = &two_languages();
  options.micro_sequences = 10;
  options.train = {.steps = kSteps, .reduction_shards = 2};
  options.train.experts = {.log_every = 10, .correct_collapse = correct};
  options.model.experts = {.count = 8, .active = 2, .ffn = 16, .balance_loss = 0.01};
  return options;
}

// The minority's tokens have something in common, and the router sends all that has it to the first two
// experts.
void collapse(TinyRun& run) {
  const Parameters& parameters = run.model.parameters();
  const auto hidden = static_cast<size_t>(run.model.config().hidden);
  const auto embedding = parameters.value(parameters.find("model.embed_tokens.weight")).values<float>();
  for (size_t token = kFirstOfMinority; token < 1000; ++token) embedding[token * hidden] += 0.08F;
  const auto router =
      parameters.value(parameters.find("model.layers.0.block_sparse_moe.gate.weight")).values<float>();
  for (float& weight : router) weight *= 10;
  router[0] += 2;
  router[hidden] += 2;
  run.model.parameters().note_change();
}

struct Outcome {
  int64_t found_at = 0;       // the first step after which the minority was named
  int64_t recovered_at = 0;   // and was no more
  double last_effective = 0;  // experts that it uses, mean over the last ten intervals
};

Outcome outcome_of(bool correct) {
  TinyRun run(testing_data::fresh_folder("collapse"), options(correct));
  collapse(run);
  run.run();
  Outcome outcome;
  for (const StepMetrics& step : run.metrics) {
    if (!step.experts) continue;
    const LayerUse& layer = step.experts->layers[0];
    const ExpertUse& minority = layer.languages[1];
    EXPECT_FALSE(layer.languages[0].collapsed) << "step " << step.step;
    if (minority.collapsed && outcome.found_at == 0) outcome.found_at = step.step;
    if (!minority.collapsed && outcome.found_at > 0 && outcome.recovered_at == 0)
      outcome.recovered_at = step.step;
    if (step.step > kSteps - 100) outcome.last_effective += minority.effective / 10;
  }
  return outcome;
}

TEST(Collapse, OfAMinorityIsFoundAndCorrected) {
  const Outcome left = outcome_of(false), corrected = outcome_of(true);
  EXPECT_EQ(left.found_at, 10 * CollapseWatch::kIntervals);
  EXPECT_EQ(left.recovered_at, 0);
  EXPECT_LT(left.last_effective, 2.1);
  EXPECT_EQ(corrected.found_at, left.found_at);
  EXPECT_GT(corrected.recovered_at, 0);
  EXPECT_GT(corrected.last_effective, 4);
  RecordProperty("experts_left_alone", std::to_string(left.last_effective));
  RecordProperty("experts_corrected", std::to_string(corrected.last_effective));
}

}  // namespace
}  // namespace fern
