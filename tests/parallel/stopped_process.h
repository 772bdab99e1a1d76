// A process that does nothing, and is stopped while this lives.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fern {

class StoppedProcess {
 public:
  StoppedProcess() : id_(fork()) {
    if (id_ == 0) {
      pause();
      _exit(0);
    }
    int status = 0;
    kill(id_, SIGSTOP);
    waitpid(id_, &status, WUNTRACED);
  }
  ~StoppedProcess() {
    int status = 0;
    kill(id_, SIGKILL);
    waitpid(id_, &status, 0);
  }
  StoppedProcess(const StoppedProcess&) = delete;
  StoppedProcess& operator=(const StoppedProcess&) = delete;
  pid_t id() const { return id_; }

 private:
  pid_t id_;
};

}  // namespace fern
