#include "launch/run_profile.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>

#include "framework/core/error.h"
#include "framework/core/profile_report.h"

namespace fern {

int64_t profiled_steps(const std::string& text) {
  if (text == "all") return Profile::kAllSteps;
  int64_t steps = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, steps);
  if (error != std::errc() || rest != end || steps < 1 || steps > Profile::kAllSteps)
    fail_usage(
        "--profile {}: expected how many steps to profile, or nothing for all; write the recipe before it, "
        "or "
        "--profile=STEPS",
        text);
  return steps;
}

void report_profile(const Profile& profile, const std::filesystem::path& folder, int rank) {
  const std::filesystem::path trace = folder / fmt::format("profile-rank-{}.json", rank);
  write_profile_trace(trace, profile, rank);
  if (profile.dropped() > 0)
    spdlog::warn("{}: the first {} events; {} more had no room and are in the table only", trace.string(),
                 profile.events().size(), profile.dropped());
  if (rank != 0) return;
  if (profile.steps() == 0) {
    spdlog::warn("the first step warms up, and no other was done: the profile has no table");
    return;
  }
  fmt::print("{} steps after the first, on rank 0: {:.1f} ms a step\n{}", profile.steps(),
             1e3 * profile.total_s() / static_cast<double>(profile.steps()), profile_table(profile));
  spdlog::info("trace of each rank for chrome://tracing or ui.perfetto.dev: {}",
               (folder / "profile-rank-*.json").string());
}

}  // namespace fern
