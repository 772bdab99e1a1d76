#include "framework/train/loss_change.h"

#include <utility>

namespace fern {

namespace {

LossChange::Losses means(const std::vector<LossChange::Losses>& steps) {
  std::map<std::string, std::pair<double, int>> sums;
  for (const LossChange::Losses& losses : steps)
    for (const auto& [language, loss] : losses) {
      auto& [sum, count] = sums[language];
      sum += loss;
      ++count;
    }
  LossChange::Losses means;
  for (const auto& [language, sum] : sums) means[language] = sum.first / sum.second;
  return means;
}

}  // namespace

std::optional<LossChange::Report> LossChange::add(int64_t step, const Losses& losses, bool updated) {
  recent_.push_back(losses);
  std::optional<Report> report;
  if (update_ && (recent_.size() == kSteps || updated)) {
    report = {.update = *update_, .languages = {}};
    const Losses after = means(recent_);
    for (const auto& [language, before] : means(before_))
      if (const auto there = after.find(language); there != after.end())
        report->languages[language] = there->second - before;
    update_.reset();
  }
  if (recent_.size() > kSteps) recent_.erase(recent_.begin());
  if (updated) {
    before_ = std::exchange(recent_, {});
    update_ = step;
  }
  return report;
}

}  // namespace fern
