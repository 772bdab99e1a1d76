#include "recipes/doubts.h"

#include <fmt/format.h>

#include "framework/ops/token_permutation.h"

namespace fern {

namespace {

// Capacity for fewer tokens than come drops some however even the routing is.
void doubt_capacity(std::vector<std::string>& lines, const Recipe& recipe) {
  const ExpertConfig& e = recipe.model.experts;
  const int64_t tokens = recipe.batch.micro_sequences * recipe.model.context, pairs = tokens * e.active;
  const int64_t room = e.count * expert_capacity(e.capacity_factor, tokens, e.active, e.count);
  if (room >= pairs) return;
  lines.push_back(fmt::format(
      "{}: model.experts.capacity_factor = {}: of the {} (token, choice) pairs of a full "
      "micro-batch experts take {} at most, so at least {:.4g} % are dropped; 1.25 is usual, 0 drops none",
      recipe.where("model.experts.capacity_factor"), e.capacity_factor, pairs, room,
      100 * (1 - static_cast<double>(room) / static_cast<double>(pairs))));
}

struct Strength {
  std::string_view key;
  double value, usual;
  std::string_view meaning;  // of 1 and more
};

}  // namespace

std::vector<std::string> doubts(const Recipe& recipe) {
  const ExpertConfig& e = recipe.model.experts;
  std::vector<std::string> lines;
  if (e.count == 0) return lines;
  doubt_capacity(lines, recipe);
  for (const Strength& strength :
       {Strength{"model.experts.balance_loss", e.balance_loss, 0.01, "it outweighs the loss of the text"},
        Strength{"model.experts.z_loss", e.z_loss, 0.001, "it outweighs the loss of the text"},
        Strength{"model.experts.bias_rate", e.bias_rate, 0.001,
                 "a step moves an expert past every probability"}})
    if (strength.value >= 1)
      lines.push_back(fmt::format("{}: {} = {}: {}; {} is usual", recipe.where(strength.key), strength.key,
                                  strength.value, strength.meaning, strength.usual));
  return lines;
}

}  // namespace fern
