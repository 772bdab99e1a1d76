#include "framework/train/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/train/metrics_log.h"

namespace fern {

namespace {

// A step's weight in the recent mean; the first steps count alike.
double weight_of(int64_t shown) { return std::max(0.05, 1.0 / static_cast<double>(shown)); }

std::string bar(double part) {
  constexpr int kWidth = 24;
  return fmt::format("[{:<{}}]", std::string(static_cast<size_t>(part * kWidth), '='), kWidth);
}

}  // namespace

std::string duration_text(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min", (s + 30) / 60);
  if (s < 86400) return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
  return fmt::format("{} d {:02} h", s / 86400, s % 86400 / 3600);
}

Progress::Progress(std::FILE* out, bool terminal, int64_t steps)
    : out_(out), terminal_(terminal), steps_(steps) {}

Progress::~Progress() {
  if (open_line_) fmt::print(out_, "\n");
}

void Progress::show(const StepMetrics& metrics) {
  ++shown_;
  skipped_ += metrics.skipped;
  step_s_ += weight_of(shown_) * (metrics.step_s - step_s_);
  tokens_per_s_ += weight_of(shown_) * (tokens_per_s(metrics) - tokens_per_s_);
  since_shown_s_ += metrics.step_s;
  if (!is_due(metrics)) return;
  since_shown_s_ = 0;
  const std::string text = line(metrics);
  if (terminal_)
    fmt::print(out_, "\r{}\x1b[K", text);
  else
    fmt::print(out_, "{}\n", text);
  open_line_ = terminal_;
  std::fflush(out_);
}

bool Progress::is_due(const StepMetrics& metrics) const {
  const double interval_s = terminal_ ? 0.1 : 30;
  return shown_ == 1 || metrics.step == steps_ || metrics.skipped || since_shown_s_ >= interval_s;
}

std::string Progress::line(const StepMetrics& metrics) const {
  const double part = steps_ > 0 ? static_cast<double>(metrics.step) / static_cast<double>(steps_) : 1;
  std::string text = fmt::format("step {}/{}", metrics.step, steps_);
  if (terminal_) text += fmt::format(" {}", bar(std::clamp(part, 0.0, 1.0)));
  text += fmt::format(" {:3.0f} %  loss {:.4f}  {:.0f} tokens/s", 100 * part, metrics.loss, tokens_per_s_);
  if (metrics.step < steps_)
    text += fmt::format("  {} left", duration_text(static_cast<double>(steps_ - metrics.step) * step_s_));
  if (skipped_ > 0) text += fmt::format("  {} skipped: not finite", skipped_);
  return text;
}

}  // namespace fern
