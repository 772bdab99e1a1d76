// The methods there are, each in a file of its own.
#pragma once

#include <array>
#include <memory>

#include "framework/sparsity/method.h"

namespace fern {

std::unique_ptr<Method> make_static(MethodSetup setup);
std::unique_ptr<Method> make_set(MethodSetup setup);
std::unique_ptr<Method> make_rigl(MethodSetup setup);
std::unique_ptr<Method> make_srigl(MethodSetup setup);
std::unique_ptr<Method> make_gradual(MethodSetup setup);
std::unique_ptr<Method> make_magnitude(MethodSetup setup);
std::unique_ptr<Method> make_random(MethodSetup setup);

// In the order of SparsityMethod.
inline constexpr std::array<std::unique_ptr<Method> (*)(MethodSetup), kMethodNames.size()> kMethodMakers = {
    nullptr, make_static, make_set, make_rigl, make_srigl, make_gradual, make_magnitude, make_random};

}  // namespace fern
