#include "launch/affinity.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <tuple>

namespace fern {

namespace {

// A number the system tells of a core; -1 where it does not.
int topology_of(int core, const char* name) {
  std::ifstream in(fmt::format("/sys/devices/system/cpu/cpu{}/topology/{}", core, name));
  int number = -1;
  return in >> number ? number : -1;
}

}  // namespace

std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {};
  std::vector<std::tuple<int, int, int>> placed;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set))
      placed.emplace_back(topology_of(core, "physical_package_id"), topology_of(core, "core_id"), core);
  std::ranges::sort(placed);
  std::vector<int> cores;
  for (const auto& [package, physical, core] : placed) cores.push_back(core);
  return cores;
}

std::vector<int> share_of(const std::vector<int>& cores, int part, int parts) {
  const auto bound = [&](int i) { return cores.begin() + static_cast<int64_t>(cores.size()) * i / parts; };
  return {bound(part), bound(part + 1)};
}

bool keep_on(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

std::vector<int> take_own_cores(int local_rank, int local_ranks, int64_t threads) {
  const std::vector<int> cores = allowed_cores();
  if (local_ranks == 1 || static_cast<int64_t>(cores.size()) < local_ranks * threads) return {};
  std::vector<int> own = share_of(cores, local_rank, local_ranks);
  return keep_on(own) ? own : std::vector<int>{};
}

std::string cores_text(std::vector<int> cores) {
  std::ranges::sort(cores);
  std::string text;
  for (size_t i = 0; i < cores.size();) {
    size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", cores[i]);
    if (last > i) text += fmt::format("-{}", cores[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace fern
