#include "parallel/process_view.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace fern {

ProcessView own_process() { return view_process(getpid()).value_or(ProcessView{.id = getpid()}); }

std::optional<ProcessView> view_process(int64_t id) {
  std::ifstream file(fmt::format("/proc/{}/stat", id));
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  // The program's name is in brackets and may itself hold some.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  ProcessView view{.id = id};
  fields >> view.state;
  // Fields 4 to 13, utime and stime, 16 to 21, starttime.
  std::string skipped;
  uint64_t user = 0, system = 0;
  for (int i = 4; i <= 13; ++i) fields >> skipped;
  fields >> user >> system;
  for (int i = 16; i <= 21; ++i) fields >> skipped;
  fields >> view.start;
  view.cpu_s = static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return view;
}

bool is_traced(int64_t id) {
  std::ifstream file(fmt::format("/proc/{}/status", id));
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with("TracerPid:")) return std::atoll(line.c_str() + 10) != 0;
  return false;
}

}  // namespace fern
