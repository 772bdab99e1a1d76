// Runs another program to its end.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fern {

struct ChildOutcome {
  int exit_code = 0;       // 128 + signal when a signal ended it
  int64_t peak_bytes = 0;  // largest resident set of it or of one of those it started
};

// arguments[0] is found in PATH or is a path. What it prints is added to the file `output`. When `stop` turns
// true it is asked to save and end (SIGUSR1, which mpirun passes on), and waited for; it is asked too when
// this process dies. Signals of the terminal do not reach it. REQUIRES: called on the thread that ends last.
// Errors: it cannot be started.
ChildOutcome run_child(const std::vector<std::string>& arguments, const std::filesystem::path& output,
                       const std::atomic<bool>& stop);

}  // namespace fern
