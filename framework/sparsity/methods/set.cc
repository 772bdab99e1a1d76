// SET: the smallest weights go, others come at random. Mocanu et al. 2018, "Scalable training of artificial
// neural networks with adaptive sparse connectivity".
#include <algorithm>

#include "framework/sparsity/keyed_sample.h"
#include "framework/sparsity/methods/drop_and_grow.h"
#include "framework/sparsity/methods/table.h"

namespace fern {

namespace {

class Set final : public DropAndGrow {
 public:
  using DropAndGrow::DropAndGrow;

 private:
  std::vector<int64_t> room(size_t weight, const WeightView& view) const override {
    std::vector<int64_t> free = counts_of_cells(block_positions(view.pattern), cells(weight));
    for (int64_t& count : free) count = cells(weight).positions - count;
    return free;
  }

  // Any block that does not exist is as likely as any other.
  std::vector<int64_t> spread(std::span<const WeightView> views, std::span<const int64_t> most,
                              int64_t count) const override {
    double all = 0;
    for (const int64_t free : most) all += static_cast<double>(free);
    std::vector<double> shares(views.size());
    for (size_t i = 0; i < views.size() && count > 0; ++i)
      shares[i] = static_cast<double>(most[i]) * (static_cast<double>(count) / all);
    return largest_remainders(shares, count);
  }

  std::vector<uint64_t> grown(int64_t step, size_t index, const WeightView& view,
                              std::span<const int64_t> counts) const override {
    const Cells cells = this->cells(index);
    const std::vector<uint64_t> existing = block_positions(view.pattern);
    const uint64_t key = sample_key(setup().seed, Purpose::kGrowth, weight(index).name, step);
    std::vector<uint64_t> grown;
    for (size_t cell = 0, begin = 0; cell < counts.size(); ++cell) {
      const uint64_t first = cell * static_cast<uint64_t>(cells.positions);
      size_t end = begin;
      while (end < existing.size() && cells.of(existing[end]) == static_cast<int64_t>(cell)) ++end;
      const auto free = cells.positions - static_cast<int64_t>(end - begin);
      // The i-th position that does not exist is i plus how many exist before it.
      size_t at = begin;
      for (const uint64_t i : keyed_sample(counts[cell], free, setup().seed, Purpose::kGrowth, key + cell)) {
        while (at < end && existing[at] <= first + i + (at - begin)) ++at;
        grown.push_back(first + i + (at - begin));
      }
      begin = end;
    }
    return grown;
  }
};

}  // namespace

std::unique_ptr<Method> make_set(MethodSetup setup) { return std::make_unique<Set>(std::move(setup)); }

}  // namespace fern
