// The token stream's SHA-256: what a run was really fed, in (step, slot) order, whoever loaded which part.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "framework/data/loader.h"

namespace fern {

// SHA-256 of one sequence of a micro-batch, as eight words: its inputs, targets and document boundaries,
// counted from its own first position, so that where it lies in a micro-batch does not show.
using SequenceDigest = std::array<uint32_t, 8>;
SequenceDigest sequence_digest(const MicroBatch& batch, int64_t slot);

// The stream's hash after one more step: SHA-256 over the hash before ("" at first) and the step's digests in
// slot order, as 64 hexadecimal digits. `words` are eight for each sequence, each a whole number below 2^32.
std::string extend_token_stream(const std::string& before, std::span<const double> words);

// The same from the loader alone, after `steps` steps: what a run's ledger must say.
std::string token_stream_sha256(const Loader& loader, int64_t steps);

}  // namespace fern
