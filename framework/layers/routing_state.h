// What routing depends on beside the weights, and what it tells. M layers with experts, E experts, L
// languages.
//
// The balance loss of a layer is a E sum_e f_e P_e (Fedus et al. 2021, equation 4) with a the weight
// model.experts.balance_loss, f_e the share of the (token, choice) pairs of the step before that went to
// expert e (1 / E at first), and P_e the mean over all tokens of this step's batch of the probability of e.
// The z-loss is z times the mean over the same tokens of logsumexp(logits)^2 (Zoph et al. 2022, equation 5).
// Both are added up over layers. Since f is fixed within a step, they are sums over tokens, and do not depend
// on how a batch is cut into micro-batches or shared out over processes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/core/tensor.h"
#include "framework/model/config.h"
#include "framework/ops/routing.h"
#include "framework/ops/token_permutation.h"

namespace fern {

// What a checkpoint remembers of experts beside their weights, each as one list by layer: shares and biases
// by expert, corrections by language and expert; and what a trainer adds, counts and streaks
// (train/expert_training.h). Empty without experts.
struct ExpertMemory {
  std::vector<double> share, bias, correction, counts;
  std::vector<int64_t> streaks;
  bool empty() const { return share.empty(); }
  bool operator==(const ExpertMemory&) const = default;
};

inline constexpr double kCorrectionPush = 4;

// Read by every forward and backward pass; changes between steps only.
class RoutingState {
 public:
  explicit RoutingState(const ModelConfig& config);
  int64_t layers() const { return layers_; }
  int64_t experts() const { return experts_; }

  // Added to an expert's probability where it competes to be chosen: in evaluation and generation as well.
  std::span<double> bias_E(int64_t layer) const { return row(bias_, layer); }
  // Shares of the step before: the f_e above.
  std::span<double> share_E(int64_t layer) const { return row(share_, layer); }

  // Gives each language a correction, of zero, that training adds to the bias where its tokens choose. The
  // router is pushed the same way: a token's loss falls by kCorrectionPush times each correction times the
  // probability of its expert, over the tokens of the batch. So it learns to do without, and what does not
  // train uses none.
  void set_languages(int64_t languages);
  int64_t languages() const { return languages_; }
  std::span<double> correction_E(int64_t layer, int64_t language) const {
    return row(correction_, layer * languages_ + language);
  }
  Tensor correction_LE(int64_t layer) const;  // empty without languages

  // For checkpoints. restore() takes biases and shares, and errors: of other layers, experts or languages.
  ExpertMemory memory() const;
  void restore(const ExpertMemory& memory);

 private:
  using Rows = std::unique_ptr<double[]>;
  std::span<double> row(const Rows& rows, int64_t index) const {
    return {rows.get() + index * experts_, static_cast<size_t>(experts_)};
  }

  int64_t layers_, experts_, languages_ = 0;
  Rows bias_, share_, correction_;  // [M, E], [M, E], [M, L, E]
};

// What the tokens of a step were routed to, counted exactly: sums do not depend on who counts what. For each
// layer and language: how many tokens chose each expert (whether it took them or not), how many (token,
// choice) pairs were dropped, how many tokens there were, and the sum of their routing entropies in
// millionths of a nat, each rounded.
class RoutingCounts {
 public:
  RoutingCounts() = default;
  RoutingCounts(int64_t layers, int64_t experts, int64_t languages);
  int64_t layers() const { return layers_; }
  int64_t experts() const { return experts_; }
  int64_t languages() const { return languages_; }  // 0: nothing is counted
  void clear();
  // Adds what another counted of the same layers, experts and languages.
  void add(const RoutingCounts& other);
  // Adds a micro-batch. Errors: a language outside -1..L-1.
  void add(int64_t layer, const Routing& routing, const TokenPermutation& permutation,
           const Tensor& language_T);

  // Whole numbers.
  std::span<const double> chosen_E(int64_t layer, int64_t language) const;
  std::vector<double> chosen_by_all_E(int64_t layer) const;
  double dropped(int64_t layer, int64_t language) const;
  double tokens(int64_t layer, int64_t language) const;
  double entropy_sum(int64_t layer, int64_t language) const;  // nats

  // All counts, in one fixed order, for sums over processes: exact below 2^53.
  std::span<double> all() { return all_; }
  std::span<const double> all() const { return all_; }

 private:
  size_t entry_size() const { return static_cast<size_t>(experts_) + 3; }
  size_t begin_of(int64_t layer, int64_t language) const {
    return static_cast<size_t>(layer * languages_ + language) * entry_size();
  }

  int64_t layers_ = 0, experts_ = 0, languages_ = 0;
  std::vector<double> all_;  // by layer and language: chosen by expert, dropped, tokens, entropy
};

// What a training forward pass leaves behind.
struct RoutingRecord {
  std::vector<RouterLosses>
      losses;            // of its micro-batch, by layer with experts; 0 of layers that are not here
  RoutingCounts counts;  // added to, until cleared

  RouterLosses sum_of_losses() const;
};

// What routing needs to know of the positions of a pass.
struct RoutedPositions {
  Tensor language_T;                // i32; -1: padding, which no expert sees
  bool training = false;            // corrections count
  double token_weight = 0;          // 1 / tokens of the step's batch, for the router's losses; 0: none
  RoutingRecord* record = nullptr;  // null: this pass is not recorded
};

}  // namespace fern
