// Errors: one exception type, and the one place that says which exit code it means.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace fern {

// What the program's exit code says (README, "Exit codes").
enum class ExitCode {
  kDone = 0,
  kFailed = 1,      // a file, the machine or the data stopped the work
  kBadUsage = 2,    // the command line or the recipe is wrong; nothing was done
  kStopped = 3,     // stopped on request, after saving
  kPeerFailed = 4,  // another rank failed or hung
};

// Every error that Fern raises. Its message says what was expected, what came, where, and what to do.
// Only main catches it.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// Throws Error(kFailed): the world is not as the work needs it (files, data, memory, shapes).
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ExitCode::kFailed, fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error(kBadUsage): the user asked for something that cannot be.
template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ExitCode::kBadUsage, fmt::format(format, std::forward<Args>(args)...));
}

// fail() unless `condition` holds. Arguments are evaluated always: keep them cheap.
template <typename... Args>
void expect(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    fail(format, std::forward<Args>(args)...);
}

// fail() with the text of `errno` appended: for failed system calls, naming the path.
[[noreturn]] void fail_errno(const std::string& what);

}  // namespace fern
