#include "launch/inspect/inspect.h"

namespace fern {

std::vector<Inspector> inspectors() {
  return {
      checkpoint_inspector(), run_inspector(),        weights_inspector(), shard_inspector(),
      prepared_inspector(),   collection_inspector(), export_inspector(),
  };
}

}  // namespace fern
