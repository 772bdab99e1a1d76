// Whole training runs of ranks that share matrices, held to the run of one process.
#include <map>

#include "tests/parallel/small_run.h"

namespace fern {
namespace {

struct Case {
  std::string name;
  Variant variant;
  double tolerance = 1e-5;  // relative, of each step's loss
};

void PrintTo(const Case& entry, std::ostream* out) { *out << entry.name; }

// All ranks share each matrix, but where the case says how many; of stages it always does.
Variant on_all_ranks(Variant variant) {
  if (variant.tensor == 1) variant.tensor = world().size();
  variant.kv_heads = 4;
  variant.peak = 3e-3;  // where rounding does not grow
  return variant;
}

Variant alone(Variant variant) {
  variant = on_all_ranks(variant);
  variant.tensor = variant.pipeline = variant.virtual_stages = 1;
  variant.zero = 0;
  return variant;
}

class TensorParallelRun : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Variant variant = on_all_ranks(GetParam().variant);
    if (world().size() == 1 || variant.tensor > variant.kv_heads ||
        world().size() % (variant.tensor * variant.pipeline) != 0)
      GTEST_SKIP() << "not of so many ranks";
  }
  // The losses of steps first + 1, first + 2, ...
  static void expect_losses_of_one_process(const std::vector<double>& losses, size_t first = 0) {
    static std::map<std::string, std::vector<double>> of_one;
    std::vector<double>& expected = of_one[GetParam().name];
    if (expected.empty()) expected = run_alone(alone(GetParam().variant)).losses;
    ASSERT_EQ(first + losses.size(), expected.size());
    for (size_t i = 0; i < losses.size(); ++i)
      ASSERT_NEAR(losses[i], expected[first + i], GetParam().tolerance * expected[first + i])
          << "step " << first + i + 1;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Variants, TensorParallelRun,
    testing::Values(
        Case{"untied", {.tied = false}}, Case{"uneven_vocabulary", {.tied = true, .vocabulary = 1003}},
        Case{"recompute", {.tied = true, .recompute = true}},
        Case{"two_and_data", {.tied = true, .tensor = 2}},
        Case{"two_and_data_zero", {.zero = 1, .tied = false, .tensor = 2, .vocabulary = 1003}},
        Case{"two_and_data_zero_2", {.zero = 2, .tied = true, .tensor = 2}},
        Case{"two_and_data_zero_3", {.zero = 3, .tied = true, .tensor = 2}},
        Case{"experts", {.tied = true, .experts = {.count = 4, .active = 2, .balance_loss = 0.01}}},
        Case{"qk_norm", {.tied = false, .recompute = true, .qk_norm = true}},
        Case{"bf16", {.tied = true, .dtype = DType::kBF16}, 2e-2},
        Case{"stages_tied_zero",
             {.zero = 1, .tied = true, .pipeline = 2, .layers = 3, .tensor = 2, .vocabulary = 1003}},
        Case{"stages_experts_recompute",
             {.zero = 1,
              .tied = false,
              .experts = {.count = 4, .active = 2, .every = 2, .balance_loss = 0.01},
              .pipeline = 2,
              .layers = 3,
              .recompute = true,
              .tensor = 2}},
        Case{"stages_of_parts",
             {.shards = 2, .tied = true, .pipeline = 2, .layers = 5, .tensor = 2, .virtual_stages = 2}},
        Case{"stages_bf16", {.tied = true, .pipeline = 2, .dtype = DType::kBF16, .tensor = 2}, 2e-2}),
    [](const auto& info) { return info.param.name; });

TEST_P(TensorParallelRun, LossesAreThoseOfOneProcess) {
  const SharedFolder folder("tensor");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run();
  expect_losses_of_one_process(run.losses);
}

// Fails unless all ranks of the communicator tell the same.
void expect_agreement(Communicator& communicator, const std::vector<double>& told) {
  std::vector<double> sum = told;
  communicator.all_reduce_sum(sum);
  for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], communicator.size() * told[i]) << i;
}

// Every rank logs the same numbers, and norms that all of a stage hold have the same bits.
TEST_P(TensorParallelRun, RanksAgreeToTheBit) {
  const SharedFolder folder("agree");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(6);
  expect_agreement(world(), run.losses);
  expect_agreement(world(), run.norms);
  std::vector<double> told;
  for (size_t i = 0; i < run.model.parameters().list().size(); ++i)
    if (run.model.parameters().list()[i].place.whole == 0)
      for (const float value : run.model.parameters().value(static_cast<int>(i)).values<float>())
        told.push_back(value);
  expect_agreement(run.communicators.tensor(), told);
}

// Stopped under one layout, gone on with under the other.
TEST_P(TensorParallelRun, StoppedHereAndResumedAloneGoesOn) {
  const SharedFolder folder("stopped");
  SmallRun first(world(), folder.path(), on_all_ranks(GetParam().variant));
  first.run(kStop);
  world().barrier();
  const auto solo = make_solo_communicator();
  SmallRun second(*solo, testing_data::fresh_folder("resumed"), alone(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000020");
  second.run();
  expect_losses_of_one_process(second.losses, kStop);
}

TEST_P(TensorParallelRun, StoppedAloneAndResumedHereGoesOn) {
  const SharedFolder folder("alone");
  if (world().rank() == 0) {
    const auto solo = make_solo_communicator();
    SmallRun first(*solo, folder.path(), alone(GetParam().variant));
    first.run(kStop);
  }
  world().barrier();
  SmallRun second(world(), folder.path(), on_all_ranks(GetParam().variant));
  second.trainer->resume(folder.path() / "step-000020");
  second.run();
  expect_losses_of_one_process(second.losses, kStop);
}

TEST_P(TensorParallelRun, SendsWhatIsPlanned) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), on_all_ranks(GetParam().variant));
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  const int64_t micro_batches = 2 * 12 / mesh.data;
  int64_t fixed = 0;
  for (const ModelPart& part : run.model.parts())
    fixed += tensor_axis_bytes(run.config, part, *run.axis, run.config.context, 0);
  const int64_t of_target = tensor_axis_bytes(run.config, {}, *run.axis, run.config.context, 1) -
                            tensor_axis_bytes(run.config, {}, *run.axis, run.config.context, 0);
  EXPECT_EQ(run.pipeline_sent_bytes,
            2 * RankLink::sent_bytes_of_step(run.config, run.config.context, 12 / mesh.data, mesh,
                                             run.communicators.place()));
  // Only the last stage has targets. They are shared out over data as micro-batches are; sums over ranks see
  // each target mesh.tensor times.
  std::vector<double> sent = {static_cast<double>(run.tensor_sent_bytes - micro_batches * fixed)};
  world().all_reduce_sum(sent);
  EXPECT_EQ(sent[0], static_cast<double>(run.loss_tokens * of_target * mesh.tensor));
}

}  // namespace
}  // namespace fern
