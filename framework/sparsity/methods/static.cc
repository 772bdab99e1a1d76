// A random pattern, kept.
#include "framework/sparsity/methods/table.h"

namespace fern {

std::unique_ptr<Method> make_static(MethodSetup setup) { return std::make_unique<Method>(std::move(setup)); }

}  // namespace fern
