// Whole training runs of ranks that share matrices, held to the run of one process.
#include "tests/parallel/run_cases.h"

namespace fern {
namespace {

class TensorParallelRun : public RunCase {
 protected:
  // All ranks share each matrix, but where the case says how many; of stages it always does.
  Variant here() const override {
    Variant variant = GetParam().variant;
    if (variant.tensor == 1) variant.tensor = world().size();
    variant.kv_heads = 4;
    return smooth(variant);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Variants, TensorParallelRun,
    testing::Values(
        Case{"untied", {.tied = false}}, Case{"uneven_vocabulary", {.tied = true, .vocabulary = 1003}},
        Case{"recompute", {.tied = true, .recompute = true}},
        Case{"two_and_data", {.tied = true, .tensor = 2}, 4},
        Case{"two_and_data_zero", {.zero = 1, .tied = false, .tensor = 2, .vocabulary = 1003}, 4},
        Case{"two_and_data_zero_2", {.zero = 2, .tied = true, .tensor = 2}, 4},
        Case{"two_and_data_zero_3", {.zero = 3, .tied = true, .tensor = 2}, 4},
        Case{"experts", {.tied = true, .experts = {.count = 4, .active = 2, .balance_loss = 0.01}}},
        Case{"qk_norm", {.tied = false, .recompute = true, .qk_norm = true}},
        Case{"bf16", {.tied = true, .dtype = DType::kBF16}, 0, kRoundingOfBF16},
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
        Case{"stages_bf16",
             {.tied = true, .pipeline = 2, .dtype = DType::kBF16, .tensor = 2},
             0,
             kRoundingOfBF16}),
    name_of_case);

TEST_P(TensorParallelRun, LossesAreThoseOfOneProcess) { expect_losses_of_one_process(run_of_ranks()); }

// Norms that all of a stage hold have the same bits.
TEST_P(TensorParallelRun, RanksAgreeToTheBit) {
  const SharedFolder folder("agree");
  SmallRun run(world(), folder.path(), here());
  run.run(3);
  std::vector<double> told;
  for (size_t i = 0; i < run.model.parameters().list().size(); ++i)
    if (run.model.parameters().list()[i].place.whole == 0)
      for (const float value : run.model.parameters().value(static_cast<int>(i)).values<float>())
        told.push_back(value);
  expect_agreement(run.communicators.tensor(), told);
}

// Stopped under one layout, gone on with under the other.
TEST_P(TensorParallelRun, StoppedHereAndResumedAloneGoesOn) {
  expect_losses_of_one_process(stop_here_resume_alone(here()));
}

TEST_P(TensorParallelRun, StoppedAloneAndResumedHereGoesOn) {
  expect_losses_of_one_process(stop_alone_resume_here(here()));
}

TEST_P(TensorParallelRun, SendsWhatIsPlanned) {
  const SharedFolder folder("traffic");
  SmallRun run(world(), folder.path(), here());
  run.run(2);
  const Mesh& mesh = run.communicators.mesh();
  const int64_t micro_batches = 2 * 12 / mesh.data;
  int64_t fixed = 0;
  for (const ModelPart& part : run.model.parts())
    fixed += tensor_axis_bytes(run.config, part, *run.axis, run.config.context, 0);
  const int64_t of_target = tensor_axis_bytes(run.config, {}, *run.axis, run.config.context, 1) -
                            tensor_axis_bytes(run.config, {}, *run.axis, run.config.context, 0);
  EXPECT_EQ(run.result.pipeline_sent_bytes,
            2 * RankLink::sent_bytes_of_step(run.config, run.config.context, 12 / mesh.data, mesh,
                                             run.communicators.place()));
  // Only the last stage has targets. They are shared out over data as micro-batches are; sums over ranks see
  // each target mesh.tensor times.
  std::vector<double> sent = {static_cast<double>(run.result.tensor_sent_bytes - micro_batches * fixed)};
  world().all_reduce_sum(sent);
  EXPECT_EQ(sent[0], static_cast<double>(run.result.loss_tokens * of_target * mesh.tensor));
}

}  // namespace
}  // namespace fern
