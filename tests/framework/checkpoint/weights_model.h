// A small model of weights alone, for tests of what is exchanged with other programs.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "framework/checkpoint/reference_model.h"
#include "framework/model/transformer.h"

namespace fern {

struct WeightsModel {
  explicit WeightsModel(const ModelConfig& config, std::vector<SparseRun> sparse = {}) : transformer(config) {
    parameters().set_patterns(std::move(sparse));
    arena = sized_arena("parameters", [&](Arena& a) { parameters().allocate(a, DType::kF32); });
  }
  Parameters& parameters() { return transformer.parameters(); }
  // Matrices as large as trained ones and gains that differ, so that a wrong formula shows in the logits; but
  // gains about 1, since scores of hundreds would magnify every rounding.
  void initialize(uint64_t seed) {
    parameters().initialize(seed);
    for (size_t i = 0; i < parameters().list().size(); ++i) {
      const bool is_norm = parameters().list()[i].kind == ParameterKind::kNorm;
      float gain = 0.75F;
      for (float& value : parameters().value(static_cast<int>(i)).values<float>())
        value *= is_norm ? gain = gain < 1.25F ? gain + 0.0625F : 0.75F : 8.0F;
    }
    parameters().note_change();
  }
  // Fails unless the reference reads the same logits out of an exported folder.
  void expect_same_logits(const std::filesystem::path& folder) const {
    const std::vector<int32_t> tokens = {1, 7, 39, 0, 7, 12};
    Stream stream;
    const std::vector<float> ours = transformer.logits(tokens, stream);
    const std::vector<double> reference = ReferenceModel(folder).logits(tokens);
    ASSERT_EQ(ours.size(), reference.size());
    double largest = 0;
    for (const double logit : reference) largest = std::max(largest, std::abs(logit));
    for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], reference[i], 1e-5 * largest);
    EXPECT_GT(largest, 0.1);
  }

  Transformer transformer;
  Arena arena = Arena::measuring("none");
};

}  // namespace fern
