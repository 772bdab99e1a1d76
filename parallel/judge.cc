#include "parallel/judge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace fern {

namespace {

constexpr double kSettling_s = 0.5;     // until all have made the call that one makes differently
constexpr double kFailing_s = 2;        // in which a rank that failed has ended the others
constexpr double kWaiting_s = 0.3;      // from then on the observer waits
constexpr double kStarvedShare = 0.25;  // of its time a rank got, or less
constexpr double kStarvedPatience = 4;

std::string names(std::span<const int> ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", "));
}

bool may_take_long(const Sighting& rank) {
  const Activity activity = rank.position.activity;
  return activity == Activity::kOutside || activity == Activity::kLog || activity == Activity::kSave ||
         rank.state == 'D';
}

class Judge {
 public:
  Judge(std::span<const Sighting> ranks, int observer, double stall_s)
      : ranks_(ranks), observer_(observer), patience_s_(patience_s(stall_s)) {}

  std::optional<Verdict> operator()() const {
    for (const auto rule :
         {&Judge::gone, &Judge::other_call, &Judge::stopped, &Judge::stalled, &Judge::other_place})
      if (auto verdict = (this->*rule)()) return verdict;
    return std::nullopt;
  }

 private:
  const Sighting& own() const { return ranks_[static_cast<size_t>(observer_)]; }
  bool observer_waits() const { return own().waits_in != kNotWaiting && own().still_s >= kWaiting_s; }

  // The ranks for which `holds`, other than the observer.
  template <typename Holds>
  std::vector<int> others(const Holds& holds) const {
    std::vector<int> found;
    for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank)
      if (rank != observer_ && holds(ranks_[static_cast<size_t>(rank)])) found.push_back(rank);
    return found;
  }

  std::string what_the_observer_does() const {
    if (own().waits_in == kNotWaiting)
      return fmt::format("rank {} is in {}", observer_, text_of(own().position));
    return fmt::format("rank {} waits in {}", observer_, text_of(own().waits_for));
  }

  // "rank 2 ..., in step 3, ...; rank 0 waits in ..."
  std::optional<Verdict> verdict(std::vector<int> ranks, std::string_view is) const {
    if (ranks.empty()) return std::nullopt;
    std::string text;
    for (const int rank : ranks)
      text += fmt::format("rank {} {}; it was in {}; ", rank, is,
                          text_of(ranks_[static_cast<size_t>(rank)].position));
    return Verdict{std::move(ranks), text + what_the_observer_does()};
  }

  std::optional<Verdict> gone() const {
    if (auto found = verdict(
            others([](const Sighting& r) { return r.presence == Presence::kHere && r.gone; }),
            "is gone: its process was killed (kill -9, or the system, for want of memory?) or crashed"))
      return found;
    if (auto found = verdict(others([](const Sighting& r) {
                               return r.presence == Presence::kFailed && r.ended_s >= kFailing_s;
                             }),
                             "failed, as its own message says"))
      return found;
    if (!observer_waits()) return std::nullopt;
    return verdict(
        others([&](const Sighting& r) { return r.presence == Presence::kLeft && r.ended_s >= patience_s_; }),
        "has ended its work and takes part in no more collectives");
  }

  std::optional<Verdict> other_call() const {
    const std::vector<int> differ =
        others([](const Sighting& r) { return r.other_call && r.differs_s >= kSettling_s; });
    if (differ.empty()) return std::nullopt;
    const Sighting& example = ranks_[static_cast<size_t>(differ.front())];
    const auto axis = static_cast<size_t>(axis_of(example.own_call.stream));
    std::vector<int> agree = others([&](const Sighting& r) {
      return r.presence == Presence::kHere && !r.other_call && r.groups[axis] == own().groups[axis];
    });
    agree.push_back(observer_);
    std::ranges::sort(agree);
    const bool tie = agree.size() == differ.size();
    const bool they = differ.size() < agree.size();
    const std::vector<int>& fault = they ? differ : agree;
    const std::vector<int>& most = they ? agree : differ;
    const std::string theirs = text_of(*example.other_call), ours = text_of(example.own_call);
    return Verdict{fault, fmt::format("{} called {}, where {} called {}{}", names(fault),
                                      they ? theirs : ours, names(most), they ? ours : theirs,
                                      tie ? " (as many, so either may be wrong)" : "")};
  }

  std::optional<Verdict> stopped() const {
    return verdict(others([&](const Sighting& r) {
                     return r.presence == Presence::kHere && r.stopped_s >= patience_s_;
                   }),
                   "is stopped (its process is in state T: SIGSTOP, or Ctrl-Z)");
  }

  double patience_with(const Sighting& rank) const {
    if (rank.traced) return std::numeric_limits<double>::infinity();
    if (may_take_long(rank)) return kLongPatience * patience_s_;
    const bool starved = rank.state == 'R' && rank.still_cpu_s < kStarvedShare * patience_s_;
    return starved ? kStarvedPatience * patience_s_ : patience_s_;
  }

  std::optional<Verdict> stalled() const {
    if (!observer_waits()) return std::nullopt;
    return verdict(others([&](const Sighting& r) {
                     return r.presence == Presence::kHere && r.waits_in == kNotWaiting &&
                            r.still_s >= patience_with(r);
                   }),
                   "does not get on (an endless loop, a lock, or one operation that takes longer than "
                   "parallel.stall_seconds)");
  }

  // Exchanges are one place: which of those under way a rank waits for is chance.
  using Place = std::pair<int32_t, uint64_t>;
  static Place place_of(const Sighting& rank) {
    return lane_of(rank.waits_in) < 0 ? Place(rank.waits_in, rank.waits_for.sequence) : Place(-1, 0);
  }

  std::optional<Verdict> other_place() const {
    std::map<Place, std::vector<int>> places;
    double least_still_s = std::numeric_limits<double>::infinity();
    for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
      const Sighting& r = ranks_[static_cast<size_t>(rank)];
      if (r.presence != Presence::kHere) continue;
      if (r.traced) return std::nullopt;
      if (r.waits_in == kNotWaiting) return std::nullopt;
      least_still_s = std::min(least_still_s, r.still_s);
      places[place_of(r)].push_back(rank);
    }
    // None is here: all have left, or are leaving.
    if (places.empty() || least_still_s < patience_s_) return std::nullopt;
    if (places.size() < 2) return all_in_one_place(least_still_s);
    const auto& [place, fault] =
        *std::ranges::min_element(places, {}, [](const auto& entry) { return entry.second.size(); });
    const Sighting& example = ranks_[static_cast<size_t>(fault.front())];
    const auto& most =
        std::ranges::max_element(places, {}, [](const auto& entry) { return entry.second.size(); })->second;
    return Verdict{
        fault, fmt::format("{} waits in {}, while {} wait in {}", names(fault), text_of(example.waits_for),
                           names(most), text_of(ranks_[static_cast<size_t>(most.front())].waits_for))};
  }

  std::optional<Verdict> all_in_one_place(double still_s) const {
    if (still_s < kLongPatience * patience_s_) return std::nullopt;
    return Verdict{{},
                   fmt::format("nothing has moved for {:.0f} s, and all ranks of this machine wait in {}; "
                               "another machine, or the network?",
                               still_s, text_of(own().waits_for))};
  }

  std::span<const Sighting> ranks_;
  int observer_;
  double patience_s_;
};

}  // namespace

std::optional<Verdict> judge(std::span<const Sighting> ranks, int observer, double stall_s) {
  return Judge(ranks, observer, stall_s)();
}

}  // namespace fern
