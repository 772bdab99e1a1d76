// The seam through which ranks share the positions of every sequence (data/context_share.h): keys and values
// go round a ring of ranks (Liu et al. 2023, arXiv:2310.01889), everything else of a layer is each rank's
// own. parallel/ implements it over MPI.
#pragma once

#include <cstdint>

#include "framework/core/tensor.h"

namespace fern {

// What goes round.
enum class RingCargo : uint8_t { kKeysValues, kGradients };  // the second: of keys and values
inline constexpr int kRingCargoes = 2;

class ContextAxis {
 public:
  virtual ~ContextAxis() = default;
  virtual int64_t size() const = 0;   // ranks that share each sequence
  virtual int64_t index() const = 0;  // this one's number

  // Starts to send `out` to the next rank and to fetch into `in`, as long, what the rank before sends. Both
  // are borrowed until it is finished. Each cargo goes on its own.
  virtual void begin_rotation(RingCargo cargo, const Tensor& out, Tensor in) = 0;
  virtual void finish_rotation(RingCargo cargo) = 0;
  // What this rank has sent so far.
  virtual int64_t sent_bytes() const = 0;

  // Whose keys and values are here after so many rotations.
  int64_t holder_of(int64_t rotations) const { return (index() + size() - rotations) % size(); }
};

// One rank without the others: one process's axis. Of several it lays out activations; what would need the
// others is an error.
class LoneContext final : public ContextAxis {
 public:
  explicit LoneContext(int64_t size = 1, int64_t index = 0) : size_(size), index_(index) {}
  int64_t size() const override { return size_; }
  int64_t index() const override { return index_; }
  void begin_rotation(RingCargo, const Tensor&, Tensor) override;
  void finish_rotation(RingCargo) override {}
  int64_t sent_bytes() const override { return 0; }

 private:
  int64_t size_, index_;
};

}  // namespace fern
