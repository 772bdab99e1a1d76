// A model whose experts several ranks share, each with a micro-batch of its own, against the whole one with
// all of them.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <mutex>
#include <set>

#include "tests/framework/model/test_model.h"
#include "tests/framework/model/thread_dispatcher.h"

namespace fern {
namespace {

const ModelConfig kModel = {.vocabulary = 53,
                            .layers = 2,
                            .hidden = 24,
                            .heads = 4,
                            .kv_heads = 2,
                            .ffn = 40,
                            .context = 29,
                            .tie_embeddings = true,
                            .dtype = DType::kF64,
                            .experts = {.count = 8, .active = 2, .ffn = 21}};

struct Variant {
  std::string name;
  int64_t ranks = 2;
  std::function<void(ModelConfig&)> change = [](ModelConfig&) {};
  double tolerance = 1e-12;  // relative, of each loss and of each parameter's gradient as a vector
};

MicroBatch batch_of(const ModelConfig& config, int64_t rank) {
  return random_batch(config.vocabulary, 3, config.context, static_cast<uint64_t>(7 + rank));
}

// Loss of one batch; its gradients are added to those that are there.
double add_gradients(TestModel& test, const MicroBatch& batch) {
  const double loss = test.forward(batch);
  test.model.backward(*test.activations, batch, test.sink, test.stream);
  const RouterLosses routers = test.model.routing_record().sum_of_losses();
  return loss + routers.balance + routers.z;
}

void copy_values(Parameters& to, const Parameters& from) {
  for (size_t i = 0; i < to.list().size(); ++i) {
    const Tensor there = from.value(from.find(to.list()[i].name)), here = to.value(static_cast<int>(i));
    ASSERT_EQ(here.bytes(), there.bytes());
    std::memcpy(here.data(), there.data(), here.bytes());
  }
  to.note_change();
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double squares = 0, errors = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    squares += b[i] * b[i];
    errors += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return squares == 0 ? std::sqrt(errors) : std::sqrt(errors / squares);
}

class ExpertParallel : public testing::TestWithParam<Variant> {
 protected:
  ModelConfig config() const {
    ModelConfig config = kModel;
    GetParam().change(config);
    return config;
  }
};

TEST_P(ExpertParallel, LossesAndEveryGradientAreThoseOfTheWhole) {
  const ModelConfig model = config();
  const int64_t ranks = GetParam().ranks;
  TestModel whole(model);
  const Parameters& all = whole.model.parameters();
  whole.prepare(3 * model.context);
  fill_zero(all.gradients());
  std::vector<double> losses;
  for (int64_t rank = 0; rank < ranks; ++rank) losses.push_back(add_gradients(whole, batch_of(model, rank)));
  std::mutex mutex;
  std::vector<std::vector<double>> sums(all.list().size());
  std::vector<std::set<int64_t>> holders(all.list().size());
  on_expert_threads(ranks, [&](TokenDispatcher& dispatcher) {
    omp_set_num_threads(1);
    TestModel share(model, 1, true, 1, nullptr, nullptr, &dispatcher);
    const Parameters& parameters = share.model.parameters();
    copy_values(share.model.parameters(), all);
    share.prepare(3 * model.context);
    fill_zero(parameters.gradients());
    const double loss = add_gradients(share, batch_of(model, dispatcher.index()));
    const std::lock_guard lock(mutex);
    const double expected = losses[static_cast<size_t>(dispatcher.index())];
    EXPECT_NEAR(loss, expected, GetParam().tolerance * expected) << dispatcher.index();
    for (size_t i = 0; i < parameters.list().size(); ++i) {
      const auto there = static_cast<size_t>(all.find(parameters.list()[i].name));
      const std::vector<double> gradient = to_doubles(parameters.gradient(static_cast<int>(i)));
      sums[there].resize(gradient.size());
      std::ranges::transform(sums[there], gradient, sums[there].begin(), std::plus());
      holders[there].insert(dispatcher.index());
    }
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    const Parameter& parameter = all.list()[i];
    const bool is_expert = parameter.name.find(".experts.") != std::string::npos;
    EXPECT_EQ(std::ssize(holders[i]), is_expert ? 1 : ranks) << parameter.name;
    EXPECT_LT(distance(sums[i], to_doubles(all.gradient(static_cast<int>(i)))), GetParam().tolerance)
        << parameter.name;
  }
}

// The order of rows at an expert is fixed, whoever comes first.
TEST_P(ExpertParallel, GivesTheSameBitsAgain) {
  const ModelConfig model = config();
  const auto run = [&] {
    std::vector<std::vector<double>> gradients(static_cast<size_t>(GetParam().ranks));
    on_expert_threads(GetParam().ranks, [&](TokenDispatcher& dispatcher) {
      omp_set_num_threads(1);
      TestModel share(model, 1, true, 1, nullptr, nullptr, &dispatcher);
      share.model.parameters().initialize(3);
      gradients[static_cast<size_t>(dispatcher.index())] =
          share.gradient(batch_of(model, dispatcher.index()));
    });
    return gradients;
  };
  EXPECT_EQ(run(), run());
}

void skew(ModelConfig& c) { c.experts.balance_loss = 0.5, c.experts.z_loss = 0.2; }

INSTANTIATE_TEST_SUITE_P(
    Variants, ExpertParallel,
    testing::Values(Variant{"TwoRanks"}, Variant{"FourRanks", 4}, Variant{"UnevenShares", 3},
                    Variant{"AnExpertEach", 8},
                    Variant{"AllActive", 3, [](ModelConfig& c) { c.experts.active = 8; }},
                    Variant{"Switch", 2,
                            [](ModelConfig& c) {
                              c.experts.active = 1;
                              c.experts.router = RouterKind::kSwitch;
                            }},
                    Variant{"SharedExpert", 2, [](ModelConfig& c) { c.experts.shared = 1; }},
                    Variant{"EverySecond", 2, [](ModelConfig& c) { c.experts.every = 2; }},
                    Variant{"Capacity", 3, [](ModelConfig& c) { c.experts.capacity_factor = 0.7; }},
                    Variant{"RouterLosses", 2, skew},
                    Variant{"Recomputed", 2, [](ModelConfig& c) { c.recompute = true; }},
                    Variant{"F32", 3, [](ModelConfig& c) { c.dtype = DType::kF32; }, 1e-4},
                    Variant{"BF16", 2, [](ModelConfig& c) { c.dtype = DType::kBF16; }, 6e-2}),
    [](const auto& info) { return info.param.name; });

TEST(ExpertParallel, OwnExpertsComeLastAndInitialValuesAreThoseOfTheWhole) {
  ModelConfig config = kModel;
  config.dtype = DType::kF32;
  TestModel whole(config);
  whole.model.parameters().initialize(3);
  for (int64_t index = 0; index < 3; ++index) {
    LoneDispatcher dispatcher(3, index);
    TestModel share(config, 1, false, 1, nullptr, nullptr, &dispatcher);
    share.model.parameters().initialize(3);
    const Parameters& parameters = share.model.parameters();
    const auto& list = parameters.list();
    EXPECT_EQ(std::ssize(list) - static_cast<std::ptrdiff_t>(parameters.own_experts()),
              2 * 3 * dispatcher.own(8).elements());
    EXPECT_EQ(list[parameters.own_experts()].offset % kParameterChunk, 0);
    for (size_t i = 0; i < list.size(); ++i) {
      EXPECT_EQ(list[i].name.find(".experts.") != std::string::npos, i >= parameters.own_experts());
      EXPECT_EQ(to_doubles(parameters.value(static_cast<int>(i))),
                to_doubles(whole.model.parameters().value(whole.model.parameters().find(list[i].name))))
          << list[i].name;
    }
  }
}

// Of 8 experts a rank holds half: it has room for each of its tokens' two rows there, from both ranks.
TEST(ExpertParallel, RoomIsForAllRowsOfAllRanks) {
  EXPECT_EQ(LoneDispatcher().most_rows(2, 8), 2);
  EXPECT_EQ(LoneDispatcher(2, 0).most_rows(2, 8), 4);
  EXPECT_EQ(LoneDispatcher(8, 3).most_rows(2, 8), 8);
  EXPECT_EQ(LoneDispatcher(3, 0).most_rows(8, 8), 6);
}

TEST(ExpertParallel, MoreRanksThanExpertsAreRefused) {
  LoneDispatcher dispatcher(9, 0);
  try {
    const Transformer model(kModel, {}, nullptr, nullptr, &dispatcher);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    EXPECT_NE(std::string(error.what()).find("parallel.expert = 9: expected 1 to 8"), std::string::npos);
  }
}

TEST(ExpertParallel, AShareAloneDoesNotRun) {
  LoneDispatcher dispatcher(2, 0);
  TestModel share(kModel, 1, true, 1, nullptr, nullptr, &dispatcher);
  share.prepare(58);
  EXPECT_THROW(share.forward(random_batch(kModel.vocabulary, 2, 29, 7)), Error);
}

}  // namespace
}  // namespace fern
