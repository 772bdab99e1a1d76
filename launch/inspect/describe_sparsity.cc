#include "launch/inspect/describe_sparsity.h"

#include "framework/checkpoint/topology_file.h"

namespace fern {

void describe_sparsity(nlohmann::ordered_json& described, const Parameters& parameters) {
  nlohmann::ordered_json densities;
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    if (!parameter.sparse) continue;
    const Pattern pattern = parameters.pattern_of(static_cast<int>(i));
    densities[parameter.name] = {{"nonzeros", pattern.nonzeros()},
                                 {"density", pattern.density()},
                                 {"block", {pattern.block().rows, pattern.block().columns}}};
  }
  described["topology_hash"] = topology_hash(parameters);
  described["sparsity"] = std::move(densities);
}

}  // namespace fern
