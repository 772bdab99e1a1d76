#include "launch/child_process.h"

#include <fcntl.h>
#include <spawn.h>
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

// How the child starts: output to a file, its own process group, and no signal blocked, though we may block
// some.
class Start {
 public:
  explicit Start(const std::filesystem::path& output) {
    posix_spawn_file_actions_init(&files_);
    posix_spawn_file_actions_addopen(&files_, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0666);
    posix_spawn_file_actions_adddup2(&files_, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  ~Start() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

  pid_t spawn(const std::vector<std::string>& arguments) const {
    std::vector<char*> words;
    for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    pid_t child = 0;
    errno = posix_spawnp(&child, words[0], &files_, &attributes_, words.data(), environ);
    if (errno != 0) fail_errno("cannot start " + arguments[0]);
    return child;
  }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace

ChildOutcome run_child(const std::vector<std::string>& arguments, const std::filesystem::path& output,
                       const std::atomic<bool>& stop) {
  const pid_t child = Start(output).spawn(arguments);
  int status = 0;
  rusage usage{};
  bool asked = false;
  while (::wait4(child, &status, WNOHANG, &usage) != child) {
    if (stop.load() && !asked) asked = ::kill(child, SIGUSR1) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return {.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
          .peak_bytes = int64_t{1024} * usage.ru_maxrss};
}

}  // namespace fern
