// The value seam over data-parallel ranks: each keeps a slice of the values, and those of a layer are there
// while it computes. (Rajbhandari et al. 2020, arXiv:1910.02054, section 5.3.)
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "framework/model/value_source.h"
#include "parallel/communicator.h"
#include "parallel/data_reducer.h"

namespace fern {

class RankValues final : public ValueSource {
 public:
  // Of ranks that keep slices, each of its region, as the reducers of these do, in their order. Borrows all.
  // REQUIRES: values in an Arena::reserving(), which only hold kept_values() of those that are not fetched.
  RankValues(const Parameters& parameters, std::vector<DataReducer*> reducers)
      : parameters_(parameters), reducers_(std::move(reducers)) {}
  // Waits until all ranks of the region fetch them, where it keeps slices; gradients that are under way move
  // on meanwhile.
  void fetch(ParameterRun parameters) override;
  void let_go(ParameterRun parameters) override;
  int64_t sent_bytes() const override { return sent_bytes_; }

 private:
  // Of the region that has this element.
  DataReducer& reducer_at(int64_t element) const;

  const Parameters& parameters_;
  std::vector<DataReducer*> reducers_;
  int64_t sent_bytes_ = 0;
  std::vector<Incoming> incoming_;
  std::vector<Outgoing> outgoing_;
};

// The elements that are fetched for these parameters, one at least: they begin and end on pages.
Slice fetched_elements(const Parameters& parameters, ParameterRun run);
// What the rank sends when these are fetched, counted from the begin of the plan's region.
int64_t fetch_bytes(const ReductionPlan& plan, Slice elements);

}  // namespace fern
