// experts.h5: what routing depends on beside the weights, and what is remembered of it (format.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "framework/checkpoint/checkpoint.h"

namespace fern {

// REQUIRES: there are experts.
FileRecord write_experts(const std::filesystem::path& path, const ExpertMemory& memory);

// Verifies what it reads. Empty where the checkpoint has no such file.
ExpertMemory read_experts(const std::filesystem::path& checkpoint, const Manifest& manifest);

}  // namespace fern
