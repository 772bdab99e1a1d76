// What the system says of a process of this machine (Linux, /proc/ID/stat; proc(5)).
#pragma once

#include <cstdint>
#include <optional>

namespace fern {

struct ProcessView {
  int64_t id = 0;
  uint64_t start = 0;  // clock ticks since boot: tells it from another process of that id
  char state = '?';    // R runs or would, S sleeps, D waits for a disk, T stopped, t under a debugger, Z dead
  double cpu_s = 0;    // of all its threads so far
};

ProcessView own_process();
// Nothing when there is no such process.
std::optional<ProcessView> view_process(int64_t id);
// Whether a debugger has it.
bool is_traced(int64_t id);

}  // namespace fern
