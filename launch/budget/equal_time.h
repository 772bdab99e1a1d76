// How long each arm trains when all get the time of the first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "launch/budget/budget_table.h"
#include "recipes/recipe.h"

namespace fern {

// Steps of each arm: as many as take the first arm's time, which `arms` trained in equal steps. They are
// decided once and kept in the file `kept`, so that more seeds train as many; arms that it lacks are added.
// Errors (kBadUsage): it was decided against another first arm; (kFailed): it cannot be read or written.
std::map<std::string, int64_t> equal_time_steps(const std::filesystem::path& kept,
                                                std::span<const ArmSummary> arms);

// Settings that give `recipe` another number of steps, and stretch with it what else is counted in steps: the
// learning rate's warm-up and decay, and the time between topology updates.
std::vector<std::string> stretched(const Recipe& recipe, int64_t steps);

}  // namespace fern
