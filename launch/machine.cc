#include "launch/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

namespace fern {

namespace {

constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

// A line "name: n kB" of a file in /proc; `otherwise` when it has none.
size_t proc_bytes(const char* file, const std::string& name, size_t otherwise) {
  std::ifstream in(file);
  std::string word, unit;
  size_t kilobytes = 0;
  while (in >> word)
    if (word == name && in >> kilobytes) return kilobytes * 1024;
  return otherwise;
}

size_t number_in(const char* file, size_t otherwise) {
  std::ifstream in(file);
  size_t number = 0;
  return in >> number ? number : otherwise;
}

size_t control_group_left_bytes() {
  const size_t most = number_in("/sys/fs/cgroup/memory.max", kUnlimited);
  if (most == kUnlimited) return kUnlimited;
  const size_t used = number_in("/sys/fs/cgroup/memory.current", 0);
  // What files are cached in can be had back.
  std::ifstream in("/sys/fs/cgroup/memory.stat");
  std::string word;
  size_t cached = 0;
  while (in >> word)
    if (word == "inactive_file") in >> cached;
  return most - std::min(most, used - std::min(used, cached));
}

}  // namespace

size_t available_memory_bytes() {
  return std::min(proc_bytes("/proc/meminfo", "MemAvailable:", kUnlimited), control_group_left_bytes());
}

size_t resident_bytes() { return proc_bytes("/proc/self/status", "VmRSS:", 0); }

size_t peak_resident_bytes() { return proc_bytes("/proc/self/status", "VmHWM:", 0); }

int64_t machine_cores() {
  int64_t cores = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  std::ifstream in("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (in >> quota >> period && period > 0)
    cores = std::min(cores, std::max<int64_t>(1, std::llround(quota / period)));
  return cores;
}

int64_t own_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return machine_cores();
  return std::max(1, CPU_COUNT(&set));
}

int64_t threads_of_environment() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  int64_t threads = 0;
  if (text == nullptr || std::from_chars(text, text + std::strlen(text), threads).ec != std::errc{}) return 0;
  return std::max<int64_t>(0, threads);
}

int64_t threads_per_rank(int64_t asked, int local_ranks) {
  if (asked > 0) return asked;
  if (const int64_t threads = threads_of_environment(); threads > 0) return threads;
  return std::min(std::max<int64_t>(1, machine_cores() / local_ranks), own_cores());
}

}  // namespace fern
