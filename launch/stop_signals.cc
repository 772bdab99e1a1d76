#include "launch/stop_signals.h"

#include <csignal>

namespace fern {

namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

// A signal handler reaches nothing but what is global.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// Generated matrix kernels keep values below the stack pointer, where a handler's frame would land: it gets a
// stack of its own.
alignas(64) char handler_stack[64 << 10];

extern "C" void request_stop(int signal_number) {
  stop_requested.store(true);
  if (signal_number == SIGINT) std::signal(SIGINT, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested.store(false);
  const stack_t stack{.ss_sp = handler_stack, .ss_flags = 0, .ss_size = sizeof handler_stack};
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  for (const int number : kSignals) sigaction(number, &action, nullptr);
}

StopSignals::~StopSignals() {
  for (const int number : kSignals) std::signal(number, SIG_DFL);
}

const std::atomic<bool>& StopSignals::requested() const { return stop_requested; }

}  // namespace fern
