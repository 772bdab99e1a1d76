#include "launch/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace fern {

namespace {

std::string scaled(double value, const char* unit) {
  constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  size_t prefix = 0;
  while (value >= 1000 && prefix + 1 < std::size(kPrefixes)) {
    value /= 1000;
    ++prefix;
  }
  const std::string number = prefix == 0 ? fmt::format("{:.0f}", value) : fmt::format("{:.1f}", value);
  const std::string suffix = std::string(kPrefixes[prefix]) + unit;
  return suffix.empty() ? number : number + " " + suffix;
}

}  // namespace

std::string bytes_text(double bytes) { return scaled(bytes, "B"); }

std::string count_text(double count) { return scaled(count, ""); }

std::string parameters_text(int64_t all, int64_t active) {
  const std::string text = count_text(static_cast<double>(all)) + " parameters";
  return all == active ? text : fmt::format("{} ({} active)", text, count_text(static_cast<double>(active)));
}

std::string names_text(const std::vector<std::string>& names, size_t most) {
  const size_t shown = std::min(most, names.size());
  const std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<long>(shown), ", "));
  return shown == names.size() ? text : fmt::format("{} and {} more", text, names.size() - shown);
}

}  // namespace fern
