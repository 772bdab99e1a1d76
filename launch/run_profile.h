// What `fern train --profile [STEPS]` gives: a table on standard output, and a trace of each rank in the run
// folder.
#pragma once

#include <filesystem>
#include <string>

#include "framework/core/profile.h"

namespace fern {

// The steps that the option's text asks for, after the warm-up; "all", which the option is without a number,
// is all. Errors (kBadUsage): anything else than a whole number above 0.
int64_t profiled_steps(const std::string& text);

// Writes profile-rank-N.json into `folder`; rank 0 also prints the table. Says what the trace has no room
// for. Errors: as write_profile_trace().
void report_profile(const Profile& profile, const std::filesystem::path& folder, int rank);

}  // namespace fern
