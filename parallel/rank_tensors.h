// The checkpoint seam over ranks: rank 0 writes, and each tensor comes to it, when it is asked for, from the
// ranks that hold it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/model/slices.h"
#include "framework/train/checkpoint_tensors.h"
#include "framework/train/reducers.h"
#include "parallel/mesh.h"

namespace fern {

class RankTensors final : public CheckpointTensors {
 public:
  // Of the whole model's parameters this rank holds `own`, and of their moments the optimizer's slice, as of
  // their values with mesh.zero = 3.
  // Borrows all.
  RankTensors(const Parameters& whole, const Parameters& own, const AdamW& optimizer,
              MeshCommunicators& communicators);
  bool is_writer() const override { return communicators_.world().rank() == 0; }
  void begin(const Parameters& whole) override;
  void finish() override;
  bool has_moments() const override { return true; }
  std::span<const float> get(TensorKind kind, int index) override;

 private:
  static constexpr int64_t kAllReplicas = -1;
  // Where a parameter is held.
  struct Place {
    int64_t stage = 0;
    int64_t experts = kAllReplicas;  // of which share of experts its holders are
    int dimension = -1;              // that ranks of the tensor axis share it by; -1: each of them holds it
    // In the flat buffers there, and how many values, by rank of the tensor axis.
    std::vector<int64_t> offsets = {}, elements = {};
  };
  // What one rank gives of a tensor, in elements of its flat buffers, and where it goes in the shares one
  // after the other.
  struct Piece {
    int rank = 0;
    Slice elements;
    int64_t to = 0;
  };
  int64_t tensors() const { return 3 * static_cast<int64_t>(whole_.list().size()); }
  // The shares of a parameter, as the ranks of the tensor axis hold them; one where each holds it.
  std::vector<Parameter> shares_of(const Parameter& parameter, const Place& place) const;
  std::vector<Piece> pieces_of(TensorKind kind, const Place& place, std::span<const Parameter> shares) const;
  // The same, as far as they are this rank's.
  std::span<const float> held(TensorKind kind, Slice elements) const;
  // The columns that are one share after the other in tensor_, in the rows of the whole.
  std::span<const float> joined(int index, std::span<const Parameter> shares);
  // All ranks: brings the next tensor to the writer.
  std::span<const float> bring(TensorKind kind, int index);

  const Parameters& whole_;
  const Parameters* patterns_ = nullptr;  // on the writer: the whole model's, during a save
  const Parameters& own_;
  const AdamW& optimizer_;
  MeshCommunicators& communicators_;
  std::vector<Place> places_;   // by parameter
  std::vector<Slices> slices_;  // by rank: of the moments, and with mesh.zero = 3 of the values
  std::vector<float> tensor_;   // the one brought, share after share, where it is not whole here
  std::vector<float> joined_;   // the same, of shares that are columns
  int64_t next_ = 0;            // of tensors()
};

}  // namespace fern
