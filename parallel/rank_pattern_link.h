// The seam of patterns over the ranks that hold different weights: the stages of a pipeline, those that share
// experts, and those that share matrices.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/train/pattern_link.h"
#include "parallel/mesh.h"

namespace fern {

class RankPatternLink final : public PatternLink {
 public:
  // Borrows the communicators.
  explicit RankPatternLink(MeshCommunicators& communicators) : communicators_(communicators) {}
  bool speaks(bool for_own_experts) const override;
  void sum(std::span<double> numbers) override;
  std::vector<uint32_t> bring(std::vector<uint32_t> words) override;
  int64_t shares() const override { return communicators_.mesh().tensor; }
  int64_t share() const override { return communicators_.place().tensor; }
  std::vector<std::vector<uint32_t>> gather(std::vector<uint32_t> words) override;
  bool is_writer() const override { return communicators_.world().rank() == 0; }

 private:
  MeshCommunicators& communicators_;
};

}  // namespace fern
