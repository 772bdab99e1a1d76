#include "data_tools/work_progress.h"

#include <fmt/format.h>

namespace fern {
namespace {

constexpr int64_t kBarWidth = 30;
constexpr std::chrono::milliseconds kTerminalEvery{200}, kFileEvery{5000};

std::string bar(int64_t done, int64_t total) {
  const int64_t filled = total == 0 ? kBarWidth : kBarWidth * done / total;
  return fmt::format("[{:#<{}}{:.<{}}]", "", filled, "", kBarWidth - filled);
}

}  // namespace

void WorkProgress::say(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (bar_open_) out_ << '\n';
  bar_open_ = false;
  out_ << line << std::endl;
}

void WorkProgress::advance(const std::string& label, int64_t done, int64_t total) {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (done < total && now - last_ < (terminal_ ? kTerminalEvery : kFileEvery)) return;
  last_ = now;
  if (terminal_) {
    out_ << fmt::format("\r{} {} {}/{}", label, bar(done, total), done, total) << std::flush;
    bar_open_ = done < total;
    if (!bar_open_) out_ << '\n';
  } else {
    out_ << fmt::format("{} {}/{}", label, done, total) << std::endl;
  }
}

}  // namespace fern
