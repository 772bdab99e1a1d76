#include "launch/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "framework/core/error.h"

namespace fern {

namespace {

constexpr int kSaveAndEnd = SIGUSR1;  // mpirun passes it on

// In the child: its own process group, no signal blocked though we may block some, and to save and end when
// we die. Tells `report` the error when the program cannot be started. Calls what a fork of threads may call.
[[noreturn]] void become(char* const* words, int output, pid_t parent, int report) {
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_PDEATHSIG, kSaveAndEnd);
  if (::getppid() == parent && ::dup2(output, STDOUT_FILENO) >= 0 && ::dup2(output, STDERR_FILENO) >= 0)
    ::execvp(words[0], words);
  const int error = errno;
  ::_exit(::write(report, &error, sizeof error) == sizeof error ? 127 : 126);
}

pid_t start(const std::vector<std::string>& arguments, const std::filesystem::path& output) {
  std::vector<char*> words;
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0) fail_errno("cannot write " + output.string());
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) fail_errno("cannot start " + arguments[0]);
  const pid_t parent = ::getpid(), child = ::fork();
  if (child == 0) become(words.data(), file, parent, report[1]);
  int error = child < 0 ? errno : 0;
  ::close(report[1]);
  ::close(file);
  const bool failed = ::read(report[0], &error, sizeof error) > 0 || child < 0;
  ::close(report[0]);
  if (!failed) return child;
  if (child > 0) ::waitpid(child, nullptr, 0);
  errno = error;
  fail_errno("cannot start " + arguments[0]);
}

}  // namespace

ChildOutcome run_child(const std::vector<std::string>& arguments, const std::filesystem::path& output,
                       const std::atomic<bool>& stop) {
  const pid_t child = start(arguments, output);
  int status = 0;
  rusage usage{};
  bool asked = false;
  while (::wait4(child, &status, WNOHANG, &usage) != child) {
    if (stop.load() && !asked) asked = ::kill(child, kSaveAndEnd) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return {.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
          .peak_bytes = int64_t{1024} * usage.ru_maxrss};
}

}  // namespace fern
