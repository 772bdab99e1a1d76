#include "framework/ops/routing.h"

#include <limits>
#include <numeric>
#include <set>

#include "tests/framework/ops/op_testing.h"

namespace fern::testing {
namespace {

template <typename T>
struct Route {
  int64_t tokens, experts, active;
  Values<T> logits, probs, gate, lse, entropy, dgate, dlogits;
  Values<int32_t> expert, language;
  Values<double> bias, balance;
  Stream stream;
  RoutingRule rule;
  RouterLossWeights weights;

  Route(int64_t t, int64_t e, int64_t k, uint64_t seed = 1)
      : tokens(t),
        experts(e),
        active(k),
        logits(Values<T>::random({t, e}, seed)),
        probs({t, e}),
        gate({t, k}),
        lse({t}),
        entropy({t}),
        dgate(Values<T>::random({t, k}, seed + 1)),
        dlogits({t, e}),
        expert({t, k}),
        language({t}),
        bias({e}),
        balance(Values<double>::random({e}, seed + 2)) {}

  Routing routing() {
    return {probs.tensor(), expert.tensor(), gate.tensor(), lse.tensor(), entropy.tensor()};
  }
  void forward() { route_forward(routing(), logits.tensor(), language.tensor(), rule, stream); }
  void backward() { route_backward(dlogits.tensor(), dgate.tensor(), routing(), rule, weights, stream); }
  // What `dlogits` is the gradient of, as long as the choice stays.
  double loss() {
    forward();
    const RouterLosses own = router_losses(routing(), weights);
    return dot(gate.data(), dgate.data()) + own.balance + own.z;
  }
};

// From the definitions, in f64.
struct PlainRoute {
  std::vector<double> probs, gates;
  std::vector<int32_t> chosen;
  PlainRoute(const double* logits, size_t experts, size_t active, bool renormalise) : probs(experts) {
    double sum = 0;
    for (size_t e = 0; e < experts; ++e) sum += probs[e] = std::exp(logits[e]);
    for (double& p : probs) p /= sum;
    chosen.resize(experts);
    std::iota(chosen.begin(), chosen.end(), 0);
    std::stable_sort(chosen.begin(), chosen.end(), [&](int32_t a, int32_t b) {
      return probs[static_cast<size_t>(a)] > probs[static_cast<size_t>(b)];
    });
    chosen.resize(active);
    double total = 0;
    for (const int32_t e : chosen) total += probs[static_cast<size_t>(e)];
    for (const int32_t e : chosen) gates.push_back(probs[static_cast<size_t>(e)] / (renormalise ? total : 1));
  }
};

TEST(Routing, MatchesThePlainDefinition) {
  for (const bool renormalise : {true, false})
    for (const auto& [experts, active] : {std::pair{1, 1}, {2, 1}, {8, 2}, {7, 7}, {64, 6}}) {
      Route<double> op(19, experts, active);
      op.rule.renormalise = renormalise;
      op.forward();
      for (int64_t t = 0; t < op.tokens; ++t) {
        const PlainRoute plain(op.logits.data().data() + t * experts, static_cast<size_t>(experts),
                               static_cast<size_t>(active), renormalise);
        double entropy = 0, sum = 0;
        for (int64_t e = 0; e < experts; ++e) {
          const double p = plain.probs[static_cast<size_t>(e)];
          ASSERT_NEAR(op.probs[t * experts + e], p, 1e-14);
          entropy -= p * std::log(p);
          sum += std::exp(op.logits[t * experts + e]);
        }
        EXPECT_NEAR(op.entropy[t], entropy, 1e-12);
        EXPECT_NEAR(op.lse[t], std::log(sum), 1e-12);
        for (int64_t k = 0; k < active; ++k) {
          ASSERT_EQ(op.expert[t * active + k], plain.chosen[static_cast<size_t>(k)]);
          ASSERT_NEAR(op.gate[t * active + k], plain.gates[static_cast<size_t>(k)], 1e-14);
        }
      }
    }
}

TEST(Routing, BackwardMatchesFiniteDifference) {
  for (const bool renormalise : {true, false})
    for (const auto& [experts, active] : {std::pair{4, 1}, {6, 2}, {3, 3}}) {
      Route<double> op(5, experts, active, 7);
      Values<double> correction = Values<double>::random({2, experts}, 5);
      op.language[1] = 1;
      op.rule.renormalise = renormalise;
      op.language[3] = -1;
      op.weights = {.share_E = op.balance.tensor(), .balance = 0.7, .z = 0.3};
      op.weights.correction_LE = correction.tensor();
      op.weights.language_T = op.language.tensor();
      op.weights.push = 0.4;
      op.forward();
      op.backward();
      expect_gradient([&] { return op.loss(); }, op.logits.data(), op.dlogits.data());
    }
}

TEST(Routing, OfEqualOnesTheLowerExpertIsTaken) {
  Route<float> op(1, 5, 3);
  op.logits.data() = {1, 2, 1, 2, 1};
  op.forward();
  EXPECT_EQ(op.expert.data(), (std::vector<int32_t>{1, 3, 0}));
}

TEST(Routing, PaddingGoesToNoExpert) {
  Route<float> op(2, 4, 2);
  op.language[1] = -1;
  op.weights = {.share_E = op.balance.tensor(), .balance = 1, .z = 1};
  op.forward();
  op.backward();
  EXPECT_EQ(op.expert[2], -1);
  EXPECT_EQ(op.expert[3], -1);
  for (int64_t e = 4; e < 8; ++e) {
    EXPECT_EQ(op.probs[e], 0);
    EXPECT_EQ(op.dlogits[e], 0);
  }
}

TEST(Routing, BiasDecidesWhoIsChosenAndNotTheGates) {
  Route<double> op(1, 3, 1);
  op.rule = {.renormalise = false, .bias_E = op.bias.tensor()};
  op.logits.data() = {2, 1, 0};
  op.bias.data() = {0, 0, 0.9};
  op.forward();
  EXPECT_EQ(op.expert[0], 2);
  EXPECT_EQ(op.gate[0], op.probs[2]);
}

TEST(Routing, LanguagesMayHaveCorrections) {
  Route<double> op(2, 2, 1);
  Values<double> bias({2, 2});
  bias.data() = {1, 0, 0, 1};
  op.rule.correction_LE = bias.tensor();
  op.language.data() = {1, 0};
  op.forward();
  EXPECT_EQ(op.expert.data(), (std::vector<int32_t>{1, 0}));
  op.language.data() = {2, 0};
  expect_error([&] { op.forward(); }, "[route_forward] language[0]: expected -1 to 1, got 2");
}

TEST(Routing, ABiasThatChoosesTheImprobableLeavesGatesFinite) {
  Route<float> op(1, 4, 2);
  op.rule.bias_E = op.bias.tensor();
  op.logits.data() = {200, 0, 0, 0};
  op.bias.data() = {-2, 0, 0, 0};
  op.forward();
  op.backward();
  for (const float gate : op.gate.data()) EXPECT_EQ(gate, 0);
  for (const float gradient : op.dlogits.data()) EXPECT_TRUE(std::isfinite(gradient));
}

TEST(Routing, ChoosesDifferentExpertsWhateverTheLogits) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInf = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& logits : {std::vector<float>{kNan, kNan, kNan, kNan},
                                           {1, kNan, 2, 3},
                                           {kInf, kInf, 0, 1},
                                           {-kInf, -kInf, -kInf, -kInf},
                                           {kInf, -kInf, kNan, 0}}) {
    Route<float> op(1, 4, 3);
    op.logits.data() = logits;
    op.forward();
    const std::set<int32_t> chosen(op.expert.data().begin(), op.expert.data().end());
    EXPECT_EQ(chosen.size(), 3u);
    EXPECT_GE(*chosen.begin(), 0);
    EXPECT_LT(*chosen.rbegin(), 4);
  }
}

TEST(Routing, F32MatchesF64) {
  Route<float> narrow(100, 16, 4);
  Route<double> wide(100, 16, 4);
  narrow.forward(), wide.forward();
  narrow.backward(), wide.backward();
  EXPECT_EQ(narrow.expert.data(), wide.expert.data());
  expect_close(narrow.gate.data(), wide.gate.data(), Device::kCpu);
  expect_close(narrow.dlogits.data(), wide.dlogits.data(), Device::kCpu);
}

TEST(Routing, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    Route<float> op(1500, 16, 3);
    op.forward();
    op.backward();
    std::vector<float> all = op.dlogits.data();
    all.insert(all.end(), op.gate.data().begin(), op.gate.data().end());
    return all;
  });
}

TEST(Routing, RefusesMoreChoicesThanExperts) {
  Route<float> op(2, 2, 3);
  expect_error([&] { op.forward(); }, "[route_forward] expected 1 to 2 experts a token, as there are, got 3");
}

template <typename T>
struct Router {
  Values<T> n, w, dlogits, logits, dn, dw;
  Stream stream;
  Router(int64_t tokens, int64_t experts, int64_t hidden)
      : n(Values<T>::random({tokens, hidden}, 1)),
        w(Values<T>::random({experts, hidden}, 2)),
        dlogits(Values<T>::random({tokens, experts}, 3)),
        logits({tokens, experts}),
        dn({tokens, hidden}),
        dw({experts, hidden}) {}
  void forward() { router_forward(logits.tensor(), n.tensor(), w.tensor(), stream); }
  void backward() {
    router_backward_weight(dw.tensor(), dlogits.tensor(), n.tensor(), stream);
    router_backward_input(dn.tensor(), dlogits.tensor(), w.tensor(), stream);
  }
};

TEST(Router, BackwardMatchesFiniteDifference) {
  Router<double> op(4, 3, 70);
  op.backward();
  const auto loss = [&] {
    op.forward();
    return dot(op.logits.data(), op.dlogits.data());
  };
  expect_gradient(loss, op.n.data(), op.dn.data());
  expect_gradient(loss, op.w.data(), op.dw.data());
}

TEST(Router, BackwardAddsToWhatIsThere) {
  Router<double> op(4, 3, 5);
  op.backward();
  const std::vector<double> dn = op.dn.data(), dw = op.dw.data();
  op.backward();
  for (size_t i = 0; i < dn.size(); ++i) EXPECT_NEAR(op.dn.data()[i], 2 * dn[i], 1e-14);
  for (size_t i = 0; i < dw.size(); ++i) EXPECT_NEAR(op.dw.data()[i], 2 * dw[i], 1e-14);
}

TEST(Router, F32MatchesF64) {
  Router<float> narrow(50, 8, 200);
  Router<double> wide(50, 8, 200);
  narrow.forward(), wide.forward();
  narrow.backward(), wide.backward();
  expect_close(narrow.logits.data(), wide.logits.data(), Device::kCpu);
  expect_close(narrow.dn.data(), wide.dn.data(), Device::kCpu);
  expect_close(narrow.dw.data(), wide.dw.data(), Device::kCpu);
}

TEST(Router, BitsDoNotDependOnThreads) {
  expect_bits_independent_of_threads<float>([] {
    Router<float> op(300, 8, 130);
    op.forward();
    op.backward();
    std::vector<float> all = op.logits.data();
    all.insert(all.end(), op.dn.data().begin(), op.dn.data().end());
    all.insert(all.end(), op.dw.data().begin(), op.dw.data().end());
    return all;
  });
}

}  // namespace
}  // namespace fern::testing
