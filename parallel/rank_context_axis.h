// The context seam over ranks.
#pragma once

#include <cstdint>

#include "framework/layers/context_axis.h"
#include "framework/model/config.h"
#include "framework/model/part.h"
#include "parallel/communicator.h"

namespace fern {

class RankContextAxis final : public ContextAxis {
 public:
  // Borrows the communicator of the ranks that share sequences.
  explicit RankContextAxis(Communicator& communicator) : communicator_(communicator) {}
  int64_t size() const override { return communicator_.size(); }
  int64_t index() const override { return communicator_.rank(); }
  void begin_rotation(RingCargo cargo, const Tensor& out, Tensor in) override;
  void finish_rotation(RingCargo cargo) override;
  int64_t sent_bytes() const override { return sent_bytes_; }

 private:
  Communicator& communicator_;
  int64_t sent_bytes_ = 0;
};

// What one of `ranks` that share sequences sends the others in one forward and backward pass of a part of a
// model, with `tokens` positions here. Blocks are keys and values of these, in config.dtype: in each layer
// C - 1 in forward, and once more where a layer is recomputed; in backward C - 1 and C of their gradients.
int64_t context_axis_bytes(const ModelConfig& config, const ModelPart& part, int64_t ranks, int64_t tokens);

}  // namespace fern
