// Training a tiny sparse Llama against a masked one of PyTorch (sparse_golden.json, made by
// make_sparse_golden.py), with patterns that stay and with RigL's.
#include <cstdlib>

#include "framework/sparsity/pattern_making.h"
#include "framework/train/solo_reducer.h"
#include "framework/train/topology.h"
#include "tests/golden/golden_llama.h"

namespace fern {
namespace {

class SparseGolden : public GoldenLlama {
 protected:
  SparseGolden() : GoldenLlama(std::getenv("FERN_SPARSE_GOLDEN")) {}

  // The method with the script's first masks, which the parameters get.
  std::unique_ptr<Method> begin_sparse(SparsityMethod kind) {
    const nlohmann::json& rigl = golden_.at("rigl");
    SparsityConfig config;
    config.method = kind;
    config.sparsity = 1 - golden_.at("density").get<double>();
    config.drop_fraction = rigl.at("drop_fraction");
    config.interval = rigl.at("interval");
    config.stop = rigl.at("stop");
    config.scoring_steps = 1;
    const auto names = golden_.at("parameters").get<std::vector<std::string>>();
    MethodSetup setup = make_method(config, parameters(), kSteps, 1)->setup();
    std::vector<Pattern> patterns;
    for (const SparseWeight& weight : setup.weights) {
      const auto number = std::ranges::find(names, weight.name) - names.begin();
      patterns.push_back(first_pattern(weight, static_cast<int>(number)));
      setup.budget.push_back(patterns.back().blocks());
    }
    std::unique_ptr<Method> method = make_method(std::move(setup));
    set_first_patterns(parameters(), *method, runs_of(parameters(), *method, std::move(patterns)));
    begin(names);
    return method;
  }

  void expect_patterns(const nlohmann::json& exist) {
    ASSERT_EQ(exist.size(), 14u);
    for (const nlohmann::json& expected : exist) {
      const std::string name = expected.at("name");
      const Pattern pattern = parameters().pattern_of(parameters().find(name));
      const auto places = expected.at("places").get<std::vector<uint64_t>>();
      EXPECT_EQ(pattern, pattern_at({name, pattern.rows(), pattern.columns(), {}}, places)) << name;
    }
  }

  static constexpr int64_t kSteps = 10;

 private:
  Pattern first_pattern(const SparseWeight& weight, int number) const {
    constexpr int kMaskStream = 500;
    std::vector<uint64_t> places;
    for (int64_t i = 0; i < weight.rows * weight.columns; ++i)
      if (golden_uniform(kMaskStream + number, i) < golden_.at("density").get<double>())
        places.push_back(static_cast<uint64_t>(i));
    return pattern_at(weight, places);
  }
};

TEST_F(SparseGolden, TenLossesEqualMaskedPyTorchs) {
  begin_sparse(SparsityMethod::kStatic);
  const auto losses = golden_.at("static").at("losses").get<std::vector<double>>();
  ASSERT_EQ(losses.size(), size_t{kSteps});
  for (size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(forward_backward(), losses[step], 1e-5 * losses[step]) << "step " << step;
    update(static_cast<int64_t>(step) + 1);
  }
  expect_patterns(golden_.at("static").at("exist"));
}

TEST_F(SparseGolden, RiglChangesWhatPyTorchsDenseGradientsSay) {
  std::unique_ptr<Method> method = begin_sparse(SparsityMethod::kRigl);
  Arena arena("scores and sums", size_t{1} << 22);
  Topology topology(std::move(method), parameters(), arena);
  SoloReducer reducer(parameters(), 1, arena);
  const auto losses = golden_.at("grown").at("losses").get<std::vector<double>>();
  ASSERT_EQ(losses.size(), size_t{kSteps});
  int64_t updates = 0;
  for (int64_t step = 1; step <= kSteps; ++step) {
    const double expected = losses[static_cast<size_t>(step) - 1];
    const bool scored = topology.begin_step(step);
    if (scored) fill_zero(topology.scored());
    EXPECT_NEAR(forward_backward(), expected, 1e-5 * expected) << "step " << step;
    if (scored) topology.take_scores(step);
    update(step);
    updates += topology.update_after(step, *optimizer_, reducer, step).has_value();
  }
  EXPECT_EQ(updates, 1);
  expect_patterns(golden_.at("grown").at("exist"));
}

}  // namespace
}  // namespace fern
