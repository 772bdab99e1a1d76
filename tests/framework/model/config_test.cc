#include "framework/model/config.h"

#include <gtest/gtest.h>

#include <string>

namespace fern {
namespace {

const ModelConfig kGood = {
    .vocabulary = 64, .layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .ffn = 48, .context = 16};

// The message of the error that `config` is refused with.
std::string refusal(const ModelConfig& config) {
  try {
    validate(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    return error.what();
  }
  return "";
}

TEST(ModelConfig, AcceptsSizesThatFit) { EXPECT_EQ(refusal(kGood), ""); }

TEST(ModelConfig, NamesTheHeadsThatDivideHidden) {
  ModelConfig config = kGood;
  config.heads = 5;
  EXPECT_EQ(refusal(config),
            "model.heads = 5: expected a divisor of model.hidden = 32 that leaves an even head size: "
            "1, 2, 4, 8, 16");
}

TEST(ModelConfig, RefusesOddHeadSize) {
  ModelConfig config = kGood;
  config.hidden = 12;
  EXPECT_NE(refusal(config).find("even head size: 1, 2, 3, 6"), std::string::npos) << refusal(config);
}

TEST(ModelConfig, HeadsOfTheirOwnSizeNeedNotDivideHidden) {
  ModelConfig config = kGood;
  config.hidden = 31;
  config.head_dim = 6;
  EXPECT_EQ(refusal(config), "");
  config.head_dim = 7;
  EXPECT_EQ(refusal(config),
            "model.head_dim = 7: expected an even number, so that a head can be rotated: 6 or 8");
}

TEST(ModelConfig, NamesTheKvHeadsThatDivideHeads) {
  ModelConfig config = kGood;
  config.kv_heads = 3;
  EXPECT_EQ(refusal(config), "model.kv_heads = 3: expected a divisor of model.heads = 4: 1, 2, 4");
}

TEST(ModelConfig, RefusesSizesBelowTheLeast) {
  ModelConfig config = kGood;
  config.layers = 0;
  EXPECT_NE(refusal(config).find("model.layers = 0: expected a whole number from 1"), std::string::npos);
}

TEST(ModelConfig, RefusesNonFiniteTheta) {
  ModelConfig config = kGood;
  config.rope_theta = 0.0 / 0.0;
  EXPECT_NE(refusal(config).find("model.rope_theta"), std::string::npos);
}

}  // namespace
}  // namespace fern
