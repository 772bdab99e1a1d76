// Says how far long work is: one line that is rewritten on a terminal, a plain line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <ostream>
#include <string>

namespace fern {

class WorkProgress {
 public:
  // `out` is borrowed. On a terminal a bar is rewritten a few times a second; else a line every five seconds.
  WorkProgress(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}

  // A line that stays.
  void say(const std::string& line);
  // "label  done/total". Safe to call from many threads; done == total ends the bar.
  void advance(const std::string& label, int64_t done, int64_t total);

 private:
  std::ostream& out_;
  bool terminal_;
  bool bar_open_ = false;
  std::chrono::steady_clock::time_point last_{};
  std::mutex mutex_;
};

}  // namespace fern
