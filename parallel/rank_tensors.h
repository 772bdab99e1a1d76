// The checkpoint seam over ranks: rank 0 writes, and each tensor comes to it, when it is asked for, from the
// ranks that hold it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/train/checkpoint_tensors.h"
#include "framework/train/reducers.h"
#include "parallel/mesh.h"

namespace fern {

class RankTensors final : public CheckpointTensors {
 public:
  // Of the whole model's parameters this rank holds `own`, and of their moments the optimizer's slice.
  // Borrows all.
  RankTensors(const Parameters& whole, const Parameters& own, const AdamW& optimizer,
              MeshCommunicators& communicators);
  bool is_writer() const override { return communicators_.world().rank() == 0; }
  void begin() override;
  void finish() override;
  bool has_moments() const override { return true; }
  std::span<const float> get(TensorKind kind, int index) override;

 private:
  // Where a parameter is held.
  struct Place {
    int64_t stage = 0, offset = 0;  // in the flat buffers there
  };
  // What one rank gives of a tensor, in elements of its stage's flat buffers.
  struct Piece {
    int rank = 0;
    Slice elements;
  };
  int64_t tensors() const { return 3 * static_cast<int64_t>(whole_.list().size()); }
  std::vector<Piece> pieces_of(TensorKind kind, const Parameter& parameter, const Place& place) const;
  // The same, as far as they are this rank's.
  std::span<const float> held(TensorKind kind, Slice elements) const;
  // All ranks: brings the next tensor to the writer.
  std::span<const float> bring(TensorKind kind, int index);

  const Parameters& whole_;
  const Parameters& own_;
  const AdamW& optimizer_;
  MeshCommunicators& communicators_;
  std::vector<Place> places_;  // by parameter
  std::vector<Slice> slices_;  // by rank: of the moments
  std::vector<float> tensor_;  // the one brought, where it is not whole here
  int64_t next_ = 0;           // of tensors()
};

}  // namespace fern
