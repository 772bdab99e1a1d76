// What this machine, or the part of it that this process may use, has to give.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fern {

// Memory that could be taken now without swapping: the kernel's estimate, or what the control group leaves
// when that is less.
size_t available_memory_bytes();
// Resident set of this process, now and at its peak.
size_t resident_bytes();
size_t peak_resident_bytes();

// Cores that the ranks of this machine share, by the control group's quota.
int64_t machine_cores();
// Cores this process is bound to.
int64_t own_cores();

// What OMP_NUM_THREADS asks for (its outermost level); 0 where it is unset or no number.
int64_t threads_of_environment();

// Threads of one rank: `asked`, or when that is 0 what the environment asks for, or else an even share of the
// machine's cores, and no more than this process is bound to.
int64_t threads_per_rank(int64_t asked, int local_ranks);

}  // namespace fern
