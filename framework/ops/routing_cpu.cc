#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/ops/checks.h"
#include "framework/ops/exp.h"
#include "framework/ops/routing.h"
#include "framework/ops/work.h"

namespace fern {

namespace {

// Keeps a division defined where a bias has chosen experts whose probabilities are all zero.
constexpr double kLeastSum = 1e-20;

struct Sizes {
  int64_t tokens, experts, active;
  bool is_large() const { return tokens * experts >= kParallelElements / 4; }
};

Sizes checked(std::string_view op, const Stream& stream, const Routing& routing, const Tensor& logits_TE,
              std::string_view logits_name) {
  expect_on_cpu(op, stream, {routing.probs_TE, routing.expert_TK, routing.gate_TK, logits_TE});
  expect_rank(op, logits_name, logits_TE, 2);
  expect_rank(op, "expert", routing.expert_TK, 2);
  const DType dtype = logits_TE.dtype();
  const Sizes sizes = {logits_TE.dim(0), logits_TE.dim(1), routing.expert_TK.dim(1)};
  expect(1 <= sizes.active && sizes.active <= sizes.experts,
         "[{}] expected 1 to {} experts a token, as there are, got {}", op, sizes.experts, sizes.active);
  expect_tensor(op, "expert", routing.expert_TK, DType::kI32, {sizes.tokens, sizes.active});
  expect_tensor(op, "gate", routing.gate_TK, dtype, {sizes.tokens, sizes.active});
  expect_tensor(op, "probs", routing.probs_TE, dtype, {sizes.tokens, sizes.experts});
  expect_tensor(op, "lse", routing.lse_T, dtype, {sizes.tokens});
  return sizes;
}

// What is added to probabilities for choosing.
struct Bias {
  Bias(const RoutingRule& rule, int64_t experts_of_layer) : experts(experts_of_layer) {
    if (!rule.bias_E.empty()) {
      expect_tensor("route_forward", "bias", rule.bias_E, DType::kF64, {experts});
      common = rule.bias_E.as<double>();
    }
    if (!rule.correction_LE.empty()) {
      expect_rank("route_forward", "correction", rule.correction_LE, 2);
      languages = rule.correction_LE.dim(0);
      expect_tensor("route_forward", "correction", rule.correction_LE, DType::kF64, {languages, experts});
      corrections = rule.correction_LE.as<double>();
    }
  }
  double of(int32_t language, int32_t expert) const {
    return (common != nullptr ? common[expert] : 0) +
           (corrections != nullptr ? corrections[language * experts + expert] : 0);
  }

  int64_t experts, languages = 0;
  const double *common = nullptr, *corrections = nullptr;
};

void expect_languages(const Tensor& language_T, int64_t tokens, int64_t languages) {
  expect_tensor("route_forward", "language", language_T, DType::kI32, {tokens});
  const int64_t most = languages > 0 ? languages : std::numeric_limits<int32_t>::max();
  const int32_t* language = language_T.as<int32_t>();
  for (int64_t t = 0; t < tokens; ++t)
    expect(-1 <= language[t] && language[t] < most, "[route_forward] language[{}]: expected -1 to {}, got {}",
           t, most - 1, language[t]);
}

template <typename T>
struct RowStatistics {
  T lse, entropy;
};

// H = logsumexp - sum p logit, of logits less their largest.
template <typename T>
RowStatistics<T> softmax_row(T* probs, const T* logits, int64_t experts) {
  T max = -std::numeric_limits<T>::infinity();
  for (int64_t e = 0; e < experts; ++e) max = std::max(max, logits[e]);
  T sum = 0;
  for (int64_t e = 0; e < experts; ++e) sum += probs[e] = fast_exp(logits[e] - max);
  T mean = 0;
  for (int64_t e = 0; e < experts; ++e) {
    probs[e] /= sum;
    if (probs[e] > 0) mean += probs[e] * (logits[e] - max);
  }
  const T log_sum = std::log(sum);
  return {max + log_sum, std::max(T{0}, log_sum - mean)};
}

// The best first, and K different ones even where values are NaN.
template <typename T>
void choose_row(int32_t* chosen, const T* probs, const Bias& bias, int32_t language, int64_t active) {
  for (int64_t k = 0; k < active; ++k) {
    int32_t best = -1;
    double best_score = 0;
    for (int32_t e = 0; e < bias.experts; ++e) {
      if (std::find(chosen, chosen + k, e) != chosen + k) continue;
      const double score = static_cast<double>(probs[e]) + bias.of(language, e);
      if (best >= 0 && !(score > best_score)) continue;
      best = e;
      best_score = score;
    }
    chosen[k] = best;
  }
}

template <typename T>
T sum_of_chosen(const T* probs, const int32_t* chosen, int64_t active) {
  T sum = static_cast<T>(kLeastSum);
  for (int64_t k = 0; k < active; ++k) sum += probs[chosen[k]];
  return sum;
}

template <typename T>
void gates_row(T* gate, const T* probs, const int32_t* chosen, int64_t active, bool renormalise) {
  const T sum = renormalise ? sum_of_chosen(probs, chosen, active) : T{1};
  for (int64_t k = 0; k < active; ++k) gate[k] = probs[chosen[k]] / sum;
}

// dprobs += of the gates' gradient.
template <typename T>
void gates_backward_row(T* dprobs, const T* dgate, const T* gate, const T* probs, const int32_t* chosen,
                        int64_t active, bool renormalise) {
  T mean = 0, sum = 1;
  if (renormalise) {
    for (int64_t k = 0; k < active; ++k) mean += gate[k] * dgate[k];
    sum = sum_of_chosen(probs, chosen, active);
  }
  for (int64_t k = 0; k < active; ++k) dprobs[chosen[k]] += (dgate[k] - mean) / sum;
}

// What a token's losses grow by with the probability of each expert.
class ProbabilityWeights {
 public:
  ProbabilityWeights(const RouterLossWeights& weights, int64_t experts)
      : weights_(weights),
        experts_(experts),
        share_(weights.balance != 0 ? weights.share_E.as<double>() : nullptr),
        correction_(weights.push != 0 ? weights.correction_LE.as<double>() : nullptr),
        language_(weights.push != 0 ? weights.language_T.as<int32_t>() : nullptr) {}
  bool any() const { return share_ != nullptr || correction_ != nullptr; }
  double of(int64_t t, int64_t e) const {
    return (share_ != nullptr ? weights_.balance * share_[e] : 0) -
           (correction_ != nullptr ? weights_.push * correction_[language_[t] * experts_ + e] : 0);
  }

 private:
  const RouterLossWeights& weights_;
  int64_t experts_;
  const double *share_, *correction_;
  const int32_t* language_;
};

}  // namespace

Routing Routing::first(int64_t tokens) const {
  return {probs_TE.rows(0, tokens), expert_TK.rows(0, tokens), gate_TK.rows(0, tokens), lse_T.rows(0, tokens),
          entropy_T.rows(0, tokens)};
}

void route_forward(const Routing& out, const Tensor& logits_TE, const Tensor& language_T,
                   const RoutingRule& rule, Stream& stream) {
  const Sizes sizes = checked("route_forward", stream, out, logits_TE, "logits");
  const auto [tokens, experts, active] = sizes;
  const Bias bias(rule, experts);
  expect_languages(language_T, tokens, bias.languages);
  const OpTimer timer(stream, "route_forward", touches({logits_TE, out.probs_TE, out.gate_TK}));
  with_wide_type("route_forward", logits_TE.dtype(), [&]<typename T>() {
    const int32_t* language = language_T.as<int32_t>();
    const T* logits = logits_TE.as<T>();
    T *probs = out.probs_TE.as<T>(), *gate = out.gate_TK.as<T>();
    T *lse = out.lse_T.as<T>(), *entropy = out.entropy_T.as<T>();
    int32_t* expert = out.expert_TK.as<int32_t>();
#pragma omp parallel for if (sizes.is_large())
    for (int64_t t = 0; t < tokens; ++t) {
      T* row = probs + t * experts;
      int32_t* chosen = expert + t * active;
      if (language[t] < 0) {
        std::fill_n(row, experts, T{0});
        std::fill_n(chosen, active, -1);
        std::fill_n(gate + t * active, active, T{0});
        lse[t] = entropy[t] = 0;
        continue;
      }
      const RowStatistics<T> statistics = softmax_row(row, logits + t * experts, experts);
      lse[t] = statistics.lse;
      entropy[t] = statistics.entropy;
      choose_row(chosen, row, bias, language[t], active);
      gates_row(gate + t * active, row, chosen, active, rule.renormalise);
    }
  });
}

RouterLosses router_losses(const Routing& routing, const RouterLossWeights& weights) {
  const int64_t tokens = routing.probs_TE.dim(0), experts = routing.probs_TE.dim(1),
                active = routing.expert_TK.dim(1);
  const ProbabilityWeights of_probs(weights, experts);
  RouterLosses losses;
  with_wide_type("router_losses", routing.probs_TE.dtype(), [&]<typename T>() {
    const T *probs = routing.probs_TE.as<T>(), *lse = routing.lse_T.as<T>();
    const int32_t* expert = routing.expert_TK.as<int32_t>();
    for (int64_t t = 0; t < tokens; ++t) {
      if (expert[t * active] < 0) continue;
      for (int64_t e = 0; of_probs.any() && e < experts; ++e)
        losses.balance += of_probs.of(t, e) * static_cast<double>(probs[t * experts + e]);
      const auto log_sum = static_cast<double>(lse[t]);
      if (weights.z != 0) losses.z += weights.z * log_sum * log_sum;
    }
  });
  return losses;
}

void route_backward(Tensor dlogits_TE, const Tensor& dgate_TK, const Routing& routing,
                    const RoutingRule& rule, const RouterLossWeights& weights, Stream& stream) {
  const Sizes sizes = checked("route_backward", stream, routing, dlogits_TE, "dlogits");
  const auto [tokens, experts, active] = sizes;
  expect_tensor("route_backward", "dgate", dgate_TK, dlogits_TE.dtype(), {tokens, active});
  const OpTimer timer(stream, "route_backward", touches({dlogits_TE, routing.probs_TE, dgate_TK}));
  const ProbabilityWeights of_probs(weights, experts);
  with_wide_type("route_backward", dlogits_TE.dtype(), [&]<typename T>() {
    T* dlogits = dlogits_TE.as<T>();
    const T *dgate = dgate_TK.as<T>(), *gate = routing.gate_TK.as<T>(), *probs = routing.probs_TE.as<T>(),
            *lse = routing.lse_T.as<T>();
    const int32_t* expert = routing.expert_TK.as<int32_t>();
#pragma omp parallel for if (sizes.is_large())
    for (int64_t t = 0; t < tokens; ++t) {
      T* row = dlogits + t * experts;
      const T* p = probs + t * experts;
      const int32_t* chosen = expert + t * active;
      std::fill_n(row, experts, T{0});
      if (chosen[0] < 0) continue;
      for (int64_t e = 0; of_probs.any() && e < experts; ++e) row[e] = static_cast<T>(of_probs.of(t, e));
      gates_backward_row(row, dgate + t * active, gate + t * active, p, chosen, active, rule.renormalise);
      T mean = 0;
      for (int64_t e = 0; e < experts; ++e) mean += p[e] * row[e];
      const T of_z = static_cast<T>(2 * weights.z * static_cast<double>(lse[t]));
      for (int64_t e = 0; e < experts; ++e) row[e] = p[e] * (row[e] - mean + of_z);
    }
  });
}

}  // namespace fern
