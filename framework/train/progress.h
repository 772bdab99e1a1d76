// How far a run is: a bar that redraws itself on a terminal, plain lines now and then in a file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "framework/train/trainer.h"

namespace fern {

class Progress {
 public:
  // Writes to `out` (borrowed); `terminal`: it is one (isatty).
  Progress(std::FILE* out, bool terminal, int64_t steps);
  // Ends the bar's line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // On a terminal at most ten times a second; else the first and last step, each skipped step, and one line
  // about every 30 seconds.
  void show(const StepMetrics& metrics);

 private:
  std::string line(const StepMetrics& metrics) const;
  bool is_due(const StepMetrics& metrics) const;

  std::FILE* out_;
  bool terminal_;
  int64_t steps_, shown_ = 0, skipped_ = 0;
  double step_s_ = 0;         // recent mean
  double tokens_per_s_ = 0;   // recent mean
  double since_shown_s_ = 0;  // training time since the last line
  bool open_line_ = false;
};

// "3 s", "12 min", "4 h 05 min", "2 d 03 h".
std::string duration_text(double seconds);

}  // namespace fern
