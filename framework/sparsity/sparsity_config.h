// What a run asks of its sparse weights: plain data, filled by the recipe's [sparsity].
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/sparsity/pattern.h"

namespace fern {

// How the pattern comes about and changes.
enum class SparsityMethod {
  kDense,      // no pattern
  kStatic,     // drawn at random before the first step, kept
  kSet,        // drop the smallest, grow at random (Mocanu et al. 2018)
  kRigl,       // drop the smallest, grow the largest gradients (Evci et al. 2020)
  kSrigl,      // the same with constant fan-in and neurons that may go (Lasby et al. 2023)
  kGradual,    // dense at first, pruned along a cubic schedule (Zhu and Gupta 2017)
  kMagnitude,  // dense at first, pruned once by magnitude (Han et al. 2015)
  kRandom,     // dense at first, pruned once at random
};
// Which weights may exist together.
enum class PatternKind {
  kUnstructured,  // any
  kBlock,         // whole square blocks
  kFanIn,         // as many in each row
  kNm,            // n of every m neighbours in a row
  kButterfly,     // a flat block butterfly, fixed (Dao et al. 2022)
};
// How one budget is shared out among weights of different shapes. For matrices, which have no kernel size,
// Erdos-Renyi and Erdos-Renyi-kernel are one and the same.
enum class Distribution { kUniform, kErdosRenyi, kErdosRenyiKernel };
enum class DropDecay { kCosine, kLinear, kConstant };

// What holds of a method whatever its settings.
struct MethodTraits {
  std::string_view name;  // in recipes and messages
  bool grows = false;     // drops weights and grows as many
  bool scores = false;    // grows where gradients are largest
  bool prunes = false;    // begins with all weights, or more than it ends with, and grows none
  bool at_once = false;   // does so in a single step
};
// In the order of SparsityMethod.
inline constexpr std::array<MethodTraits, 8> kMethods = {{
    {.name = "dense"},
    {.name = "static"},
    {.name = "set", .grows = true},
    {.name = "rigl", .grows = true, .scores = true},
    {.name = "srigl", .grows = true, .scores = true},
    {.name = "gradual", .prunes = true},
    {.name = "magnitude", .prunes = true, .at_once = true},
    {.name = "random", .prunes = true, .at_once = true},
}};
constexpr const MethodTraits& traits_of(SparsityMethod method) {
  return kMethods[static_cast<size_t>(method)];
}

// Names in recipes and messages, in the order of the enums.
inline constexpr auto kMethodNames = [] {
  std::array<std::string_view, kMethods.size()> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = kMethods[i].name;
  return names;
}();
inline constexpr std::array<std::string_view, 5> kPatternNames = {"unstructured", "block", "fan_in", "n_of_m",
                                                                  "butterfly"};
inline constexpr std::array<std::string_view, 3> kDistributionNames = {"uniform", "erdos_renyi",
                                                                       "erdos_renyi_kernel"};
inline constexpr std::array<std::string_view, 3> kDropDecayNames = {"cosine", "linear", "constant"};

constexpr std::string_view name_of(SparsityMethod method) { return traits_of(method).name; }
constexpr std::string_view name_of(PatternKind kind) { return kPatternNames[static_cast<size_t>(kind)]; }

struct SparsityConfig {
  SparsityMethod method = SparsityMethod::kDense;
  PatternKind pattern = PatternKind::kUnstructured;
  int64_t block = 16;    // side of a block: patterns block and butterfly
  int64_t n = 2, m = 4;  // pattern n_of_m
  double sparsity = 0;   // share of weights that do not exist; with n_of_m 0 or 1 - n / m
  Distribution distribution = Distribution::kUniform;
  // Sparsities of their own: of weights whose name has layer_names[i] as whole dotted parts ("layers.0",
  // "q_proj"); the first that fits counts. The other weights share `sparsity` among them.
  std::vector<std::string> layer_names;
  std::vector<double> layer_sparsities;
  bool attention = true, feed_forward = true, embedding = false, head = false;  // which are sparse

  double drop_fraction = 0.3;  // of existing weights, at the first update: set, rigl, srigl
  DropDecay drop_decay = DropDecay::kCosine;
  int64_t interval = 100;      // steps between updates
  double stop = 0.75;          // share of the run after which the topology stays: set, rigl, srigl
  int64_t scoring_steps = 10;  // rigl, srigl: rows are scored in as many parts, one a step, before an update
  double ablation = 0.3;       // srigl: a row with a smaller share of salient weights goes

  double initial_sparsity = 0;  // gradual: where it begins
  double begin = 0,
         end = 0.75;    // shares of the run: gradual's first and last pruning; one-shot prunes at end
  bool global = false;  // drop and grow across all weights instead of in each

  BlockShape block_shape() const;
  // 1 - n / m with n_of_m, else `sparsity`.
  double target_sparsity() const;
  bool operator==(const SparsityConfig&) const = default;
};

// Whether the weight of that name is to be sparse; norms never are.
bool is_sparse(const SparsityConfig& config, std::string_view name);
// Whether `part` occurs in `name` as whole dotted parts.
bool has_part(std::string_view name, std::string_view part);

// `train_steps` is the length of the run; 0 when a finished checkpoint is pruned. Errors (kBadUsage): the
// first value or combination that cannot be, with those that would do.
void validate(const SparsityConfig& config, int64_t train_steps);

}  // namespace fern
