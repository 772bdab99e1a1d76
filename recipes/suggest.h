// The nearest name, for messages about a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fern {

// Insertions, deletions, replacements and swaps of neighbours that turn one into the other (Damerau 1964,
// restricted).
int edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `name`, or "" when none is near enough to be meant.
std::string_view nearest(std::string_view name, const std::vector<std::string_view>& candidates);

// " (did you mean "x"?)", or "" when nothing is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& candidates);

}  // namespace fern
