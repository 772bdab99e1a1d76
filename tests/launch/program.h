// Runs programs as a user would, and keeps what they print.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace fern {

struct Outcome {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::string out, err;
};

// A program under way; its output goes to files in the test's folder.
class Program {
 public:
  // arguments[0] is found in PATH or is a path.
  explicit Program(const std::vector<std::string>& arguments);
  void send(int signal_number) const;
  // What it has written to standard error so far.
  std::string err() const;
  // Waits until it ends.
  Outcome wait();

 private:
  std::filesystem::path out_file_, err_file_;
  pid_t pid_ = -1;
};

// `fern` with these arguments.
Outcome run_fern(std::vector<std::string> arguments);
// `mpirun -n ranks fern` with these.
Outcome run_fern_on(int ranks, const std::vector<std::string>& arguments);
std::vector<std::string> fern_command(std::vector<std::string> arguments);
std::vector<std::string> fern_command_on(int ranks, const std::vector<std::string>& arguments);

}  // namespace fern
