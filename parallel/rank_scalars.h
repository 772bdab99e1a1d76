// The scalar seam over ranks.
#pragma once

#include <span>

#include "framework/train/reducers.h"
#include "parallel/communicator.h"

namespace fern {

class RankScalars final : public ScalarReducer {
 public:
  // Borrows the communicator.
  explicit RankScalars(Communicator& communicator) : communicator_(communicator) {}
  void sum(std::span<double> values) override { communicator_.all_reduce_sum(values); }
  bool any(bool value) override {
    double votes = value ? 1.0 : 0.0;
    communicator_.all_reduce_sum({&votes, 1});
    return votes > 0;
  }
  void barrier() override { communicator_.barrier(); }

 private:
  Communicator& communicator_;
};

}  // namespace fern
