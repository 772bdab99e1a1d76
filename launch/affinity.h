// Which cores a rank computes on, so that ranks that share a machine do not share cores.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fern {

// Cores the calling thread may use, by number; those of one package and physical core are neighbours.
std::vector<int> allowed_cores();

// The `part`-th of `parts` contiguous shares of `cores`, as even as can be. REQUIRES 0 <= part < parts.
std::vector<int> share_of(const std::vector<int>& cores, int part, int parts);

// Keeps the calling thread, and those it starts from then on, on `cores`. False when the system refuses.
bool keep_on(const std::vector<int>& cores);

// Keeps rank `local_rank` of the `local_ranks` of this machine on its own share of the cores it may use, and
// returns that share. Leaves it as it is, and returns nothing, when there is one rank, or when its cores are
// fewer than the ranks' threads in all: then the launcher has bound each rank already, or they must share.
// REQUIRES: before the first parallel region.
std::vector<int> take_own_cores(int local_rank, int local_ranks, int64_t threads);

// "0-3, 8", in the order of numbers.
std::string cores_text(std::vector<int> cores);

}  // namespace fern
