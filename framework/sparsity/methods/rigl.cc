// RigL: the smallest weights go, those with the largest gradients come. Evci et al. 2020, "Rigging the
// lottery".
#include "framework/sparsity/methods/drop_and_grow.h"
#include "framework/sparsity/methods/global_choice.h"
#include "framework/sparsity/methods/table.h"

namespace fern {

namespace {

class Rigl final : public DropAndGrow {
 public:
  using DropAndGrow::DropAndGrow;

 private:
  std::vector<int64_t> room(size_t weight, const WeightView& view) const override {
    std::vector<int64_t> counts(static_cast<size_t>(cells(weight).count));
    for (const Candidate& candidate : view.candidates)
      ++counts[static_cast<size_t>(cells(weight).of(candidate.position))];
    return counts;
  }

  std::vector<int64_t> spread(std::span<const WeightView> views, std::span<const int64_t>,
                              int64_t count) const override {
    std::vector<std::vector<uint64_t>> worths;
    for (const WeightView& view : views) {
      worths.emplace_back();
      for (const Candidate& candidate : view.candidates)
        worths.back().push_back(worth_of(candidate.score, candidate.position));
    }
    return counts_among_largest(worths, count);
  }

  std::vector<uint64_t> grown(int64_t, size_t weight, const WeightView& view,
                              std::span<const int64_t> counts) const override {
    const Cells cells = this->cells(weight);
    std::vector<int64_t> left(counts.begin(), counts.end());
    std::vector<uint64_t> grown;
    grown.reserve(static_cast<size_t>(sum(counts)));
    for (const Candidate& candidate : view.candidates)  // best first in each cell
      if (left[static_cast<size_t>(cells.of(candidate.position))]-- > 0) grown.push_back(candidate.position);
    return grown;
  }
};

}  // namespace

std::unique_ptr<Method> make_rigl(MethodSetup setup) { return std::make_unique<Rigl>(std::move(setup)); }

}  // namespace fern
