// A profile as people and tools read it.
#pragma once

#include <filesystem>
#include <string>

#include "framework/core/profile.h"

namespace fern {

// A line an op, the most expensive first: calls, own time in ms, its share of all time, GFLOP/s and GB/s; the
// last line is the time in no op. GFLOP/s and GB/s are of the op's own time, "-" where it states no work.
std::string profile_table(const Profile& profile);

// Writes the events in Chrome's trace format (chrome://tracing, ui.perfetto.dev): complete events in
// microseconds of the machine's steady clock, so that the traces of ranks on one machine fit together; `rank`
// is the process. Errors: as write_text_durably().
void write_profile_trace(const std::filesystem::path& path, const Profile& profile, int rank);

}  // namespace fern
