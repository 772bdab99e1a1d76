// The seam of patterns over the stages of a pipeline.
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
  void sum(std::span<double> numbers) override;
  std::vector<uint32_t> bring(std::vector<uint32_t> words) override;
  bool is_writer() const override { return communicators_.world().rank() == 0; }

 private:
  // Of the ranks that hold the same weights, one tells of them.
  bool speaks() const {
    const MeshPlace& place = communicators_.place();
    return place.data == 0 && place.tensor == 0 && place.context == 0;
  }

  MeshCommunicators& communicators_;
};

}  // namespace fern
