#include "launch/stop_signals.h"

#include <pthread.h>

#include <condition_variable>
#include <csignal>
#include <mutex>

namespace fern {

namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

// A signal handler reaches nothing but what is global.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void request_stop(int signal_number) {
  stop_requested.store(true);
  if (signal_number == SIGINT) std::signal(SIGINT, SIG_DFL);
}

void wait_until(const std::stop_token& over) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait(lock, over, [] { return false; });
}

}  // namespace

// Generated matrix kernels keep values below the stack pointer, where a handler's frame would land. So the
// threads that compute block the signals: this one, and those of OpenMP, which it starts later and which
// inherit its mask. The receiver, started before that, is left to take them.
StopSignals::StopSignals() {
  stop_requested.store(false);
  struct sigaction action {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART;
  for (const int number : kSignals) sigaction(number, &action, nullptr);
  receiver_ = std::jthread(wait_until);
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int number : kSignals) sigaddset(&blocked, number);
  pthread_sigmask(SIG_BLOCK, &blocked, &mask_before_);
}

StopSignals::~StopSignals() { pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr); }

const std::atomic<bool>& StopSignals::requested() const { return stop_requested; }

}  // namespace fern
