#include "framework/train/pruned_model.h"

#include "framework/core/error.h"
#include "framework/model/whole_matrix.h"
#include "framework/sparsity/expand.h"
#include "framework/sparsity/prune.h"
#include "framework/train/topology.h"

namespace fern {

std::vector<SparseRun> pruned_patterns(const SparsityConfig& config, const Parameters& dense, uint64_t seed) {
  if (config.method == SparsityMethod::kDense)
    fail_usage("sparsity.method = \"dense\": expected \"magnitude\" or \"random\" to prune at once");
  const std::unique_ptr<Method> method = make_method(config, dense, 0, seed);
  std::vector<Pattern> full;
  std::vector<std::vector<float>> values;
  for (const SparseWeight& weight : method->setup().weights) {
    full.push_back(Pattern::full(weight.rows, weight.columns, weight.block));
    values.emplace_back(static_cast<size_t>(full.back().nonzeros()));
    gather(values.back(), dense.value(dense.find(weight.name)).values<float>(), full.back());
  }
  std::vector<WeightView> views;
  for (size_t i = 0; i < full.size(); ++i) views.push_back({full[i], values[i]});
  return runs_of(dense, *method, prune(method->setup(), views));
}

void copy_weights(Parameters& to, const Parameters& from) {
  std::vector<float> whole, share;
  for (size_t i = 0; i < to.list().size(); ++i) {
    const Parameter& parameter = to.list()[i];
    whole.resize(static_cast<size_t>(parameter.whole_shape().elements()));
    write_whole(whole, from, from.find(parameter.name));
    share.resize(static_cast<size_t>(parameter.shape.elements()));
    take_share(share, whole, parameter);
    take_whole(to, static_cast<int>(i), share);
    to.release_values(static_cast<int>(i));
  }
  to.note_change();
}

}  // namespace fern
