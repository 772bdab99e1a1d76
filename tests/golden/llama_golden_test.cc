// Training a tiny Llama, and a tiny Qwen3, against PyTorch's numbers (llama_golden.json and qwen_golden.json,
// made by make_llama_golden.py).
#include <cstdlib>

#include "tests/golden/golden_llama.h"

namespace fern {
namespace {

class LlamaGolden : public GoldenLlama {
 protected:
  LlamaGolden() : GoldenLlama(std::getenv("FERN_GOLDEN")) {
    std::vector<std::string> names;
    for (const nlohmann::json& gradient : golden_.at("gradients")) names.push_back(gradient.at("name"));
    begin(names);
  }
};

TEST_F(LlamaGolden, EveryGradientEqualsPyTorchs) {
  forward_backward();
  EXPECT_EQ(golden_.at("gradients").size(), parameters().list().size());
  for (const nlohmann::json& expected : golden_.at("gradients")) {
    const std::string name = expected.at("name");
    const auto values = expected.at("values").get<std::vector<double>>();
    const std::span<float> gradient = parameters().gradient(parameters().find(name)).values<float>();
    ASSERT_EQ(gradient.size(), values.size()) << name;
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(gradient[i], values[i], 1e-5 * std::abs(values[i]) + 1e-6) << name << "[" << i << "]";
  }
}

TEST_F(LlamaGolden, TenLossesEqualPyTorchs) {
  const auto losses = golden_.at("losses").get<std::vector<double>>();
  ASSERT_EQ(losses.size(), 10u);
  for (size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(forward_backward(), losses[step], 1e-5 * losses[step]) << "step " << step;
    update(static_cast<int64_t>(step) + 1);
  }
}

}  // namespace
}  // namespace fern
