// What one step's routing leaves to the next: the shares that the balance loss goes by, and the biases
// (layers/routing_state.h).
#pragma once

#include "framework/layers/routing_state.h"

namespace fern {

// Counts of a step's whole batch become the shares f_e of the next. With `bias_rate` the bias of each expert
// rises by it where the expert got less than the mean, and falls where it got more (DeepSeek-AI 2024,
// "DeepSeek-V3", section 2.1.2). Counts are whole numbers, so that every
// process comes to the same bits. A step that is not applied (its numbers were not finite) leaves everything
// as it is: its routing says nothing.
void balance_experts(RoutingState& state, const RoutingCounts& counts, double bias_rate);

}  // namespace fern
