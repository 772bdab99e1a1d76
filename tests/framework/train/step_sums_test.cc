#include "framework/train/step_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace fern {
namespace {

// Adds another process's slots, as a real exchange does.
class TwoProcesses final : public ScalarReducer {
 public:
  std::vector<double> other;
  void sum(std::span<double> values) override {
    if (other.empty()) other.assign(values.size(), 0.0);
    for (size_t i = 0; i < values.size(); ++i) std::swap(values[i], other[i]), values[i] += other[i];
  }
  bool any(bool value) override { return value; }
  void barrier() override {}
};

void fill(StepSums& sums, int64_t micro, int32_t language) {
  const double x = 0.1 * static_cast<double>(micro + 1);
  MicroBatch batch;
  batch.language_S = {language, 0};
  sums.sequence_losses(micro)[0] = x;
  sums.sequence_losses(micro)[1] = 10 * x;
  sums.set_micro_batch(micro, x / 3, batch);
  sums.squares()[static_cast<size_t>(micro)] = x / 7;
}

TEST(StepSums, TwoProcessesGiveTheBitsOfOne) {
  StepSums one(3, 2, 3, 2), left(3, 2, 3, 2), right(3, 2, 3, 2);
  TwoProcesses exchange;
  // Layers of experts are of two processes too.
  for (const int64_t micro : {0, 1, 2}) {
    const double x = 0.1 * static_cast<double>(micro + 1);
    fill(one, micro, 1);
    one.add_routers(micro, std::vector<RouterLosses>{{x, 2 * x}, {x / 3, x / 7}});
    left.add_routers(micro, std::vector<RouterLosses>{{x, 2 * x}, {}});
    right.add_routers(micro, std::vector<RouterLosses>{{}, {x / 3, x / 7}});
  }
  fill(left, 0, 1);
  for (const int64_t micro : {1, 2}) fill(right, micro, 1);
  left.exchange(exchange);   // nothing there yet: leaves its slots with the exchange
  right.exchange(exchange);  // takes them in
  EXPECT_EQ(right.loss(), one.loss());
  EXPECT_EQ(right.grad_norm(), one.grad_norm());
  EXPECT_EQ(right.router_losses().balance, one.router_losses().balance);
  EXPECT_EQ(right.router_losses().z, one.router_losses().z);
  EXPECT_NEAR(right.router_losses().z, (2 + 1.0 / 7) * (0.1 + 0.2 + 0.3), 1e-12);
}

// Each share has its own losses; the first tells what is known of the whole.
TEST(StepSums, SharesOfMicroBatchesAddUp) {
  StepSums first(2, 2, 2, 1, 2), second(2, 2, 2, 1, 2);
  for (const int64_t micro : {0, 1}) {
    fill(first, micro, 1);
    MicroBatch unknown;
    second.set_micro_batch(micro, 0.01, unknown, 1);
    second.sequence_losses(micro, 1)[0] = 1;
    second.sequence_losses(micro, 1)[1] = 2;
    first.add_routers(micro, std::vector<RouterLosses>{{1, 2}});
    second.add_routers(micro, std::vector<RouterLosses>{{3, 4}}, 1);
  }
  TwoProcesses exchange;
  first.exchange(exchange);
  second.exchange(exchange);
  EXPECT_NEAR(second.loss(), (0.1 + 0.2) / 3 + 0.02, 1e-15);
  EXPECT_EQ(second.router_losses().balance, 8);
  EXPECT_EQ(second.router_losses().z, 12);
  std::vector<double> losses;
  second.language_losses(losses, {{.loss_tokens = 1}, {.loss_tokens = 2}});
  EXPECT_NEAR(losses[0], 10 * 0.3 + 4, 1e-12);
  EXPECT_NEAR(losses[1], (0.3 + 2) / 2, 1e-12);
  StepSums whole(2, 2, 2, 1);
  for (const int64_t micro : {0, 1}) fill(whole, micro, 1);
  EXPECT_EQ(std::vector<double>(second.digest_words().begin(), second.digest_words().end()),
            std::vector<double>(whole.digest_words().begin(), whole.digest_words().end()));
}

TEST(StepSums, LanguageLossIsPerLossToken) {
  StepSums sums(2, 2, 2);
  fill(sums, 0, 1);
  fill(sums, 1, 1);
  std::vector<double> losses;
  sums.language_losses(losses, {{.loss_tokens = 5}, {.loss_tokens = 2}, {.loss_tokens = 0}});
  EXPECT_DOUBLE_EQ(losses[0], (1.0 + 2.0) / 5);
  EXPECT_DOUBLE_EQ(losses[1], (0.1 + 0.2) / 2);
  EXPECT_TRUE(std::isnan(losses[2]));
}

}  // namespace
}  // namespace fern
