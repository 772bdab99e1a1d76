// The value seam over data-parallel ranks: each keeps a slice of the values, and those of a layer are there
// while it computes. (Rajbhandari et al. 2020, arXiv:1910.02054, section 5.3.)
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/value_source.h"
#include "parallel/communicator.h"
#include "parallel/data_reducer.h"

namespace fern {

class RankValues final : public ValueSource {
 public:
  // Of ranks that keep the reducer's slices. Borrows all. REQUIRES: values in an Arena::reserving(), which
  // only hold kept_values() of those that are not fetched.
  RankValues(const Parameters& parameters, DataReducer& reducer, Communicator& communicator)
      : parameters_(parameters), reducer_(reducer), communicator_(communicator) {}
  // Waits until all ranks fetch them; gradients that are under way move on meanwhile.
  void fetch(ParameterRun parameters) override;
  void let_go(ParameterRun parameters) override;
  int64_t sent_bytes() const override { return sent_bytes_; }

 private:
  const Parameters& parameters_;
  DataReducer& reducer_;
  Communicator& communicator_;
  int64_t sent_bytes_ = 0;
  std::vector<Incoming> incoming_;
  std::vector<Outgoing> outgoing_;
};

// The elements that are fetched for these parameters: they begin and end on pages.
Slice fetched_elements(const Parameters& parameters, ParameterRun run);
// What the rank sends when they are fetched.
int64_t fetch_bytes(const ReductionPlan& plan, Slice elements);

}  // namespace fern
