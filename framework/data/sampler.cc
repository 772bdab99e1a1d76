#include "framework/data/sampler.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
#include <numeric>
#include <queue>

#include "framework/core/error.h"
#include "framework/core/rng.h"

namespace fern {

namespace {

constexpr int64_t kPeriod = int64_t{1} << 18;
constexpr int64_t kMostLanguages = int64_t{1} << 14;

// Draws of each language in one period: the largest remainders round up (Hamilton), and a positive share gets
// at least one.
std::vector<int64_t> draws_per_period(const std::vector<double>& shares) {
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<int64_t> draws(shares.size(), 0);
  std::vector<double> excess(shares.size(), 0.0);  // draws given beyond the exact share
  std::vector<size_t> shared;
  for (size_t i = 0; i < shares.size(); ++i) {
    if (shares[i] <= 0) continue;
    const double exact = shares[i] / total * static_cast<double>(kPeriod);
    draws[i] = std::max<int64_t>(1, static_cast<int64_t>(exact));
    excess[i] = static_cast<double>(draws[i]) - exact;
    shared.push_back(i);
  }
  const int64_t missing = kPeriod - std::accumulate(draws.begin(), draws.end(), int64_t{0});
  const int64_t one = missing > 0 ? 1 : -1;
  for (int64_t left = std::abs(missing); left > 0; --left) {
    const auto better = [&](size_t a, size_t b) {
      if (one < 0 && (draws[a] == 1) != (draws[b] == 1)) return draws[b] == 1;
      return one > 0 ? excess[a] < excess[b] : excess[a] > excess[b];
    };
    const size_t chosen = *std::min_element(shared.begin(), shared.end(), better);
    draws[chosen] += one;
    excess[chosen] += static_cast<double>(one);
  }
  return draws;
}

// One period of Tijdeman's schedule: draw j (from 0) of a language with c of the P draws may come no earlier
// than step ceil((j + e) P / c) and no later than floor((j + 1 - e) P / c) + 1, steps counted from 1 and
// e = 1 / (2k - 2) for k languages. Taking the earliest deadline always meets them all; then after n draws
// every language has been drawn within 1 - e of n c / P.
class Schedule {
 public:
  explicit Schedule(const std::vector<int64_t>& draws)
      : draws_(draws),
        next_draw_(draws.size(), 0),
        waiting_(kPeriod + 2, kNobody),
        next_(draws.size(), kNobody) {
    const auto languages = std::count_if(draws.begin(), draws.end(), [](int64_t n) { return n > 0; });
    slack_ = std::max<int64_t>(1, 2 * (static_cast<int64_t>(languages) - 1));
  }

  std::vector<int32_t> period() {
    for (size_t language = 0; language < draws_.size(); ++language)
      if (draws_[language] > 0) wait(language, 1);
    std::vector<int32_t> order;
    order.reserve(kPeriod);
    for (int64_t step = 1; step <= kPeriod; ++step) {
      admit(step);
      const size_t language = due_.top() & kLanguageMask;
      due_.pop();
      order.push_back(static_cast<int32_t>(language));
      if (++next_draw_[language] < draws_[language]) wait(language, step + 1);
    }
    return order;
  }

 private:
  static constexpr int32_t kNobody = -1;
  static constexpr int kLanguageBits = 32;
  static constexpr uint64_t kLanguageMask = (uint64_t{1} << kLanguageBits) - 1;

  // Puts a language in the list of the step from which its next draw may come.
  void wait(size_t language, int64_t not_before) {
    const int64_t numerator = (slack_ * next_draw_[language] + 1) * kPeriod,
                  denominator = slack_ * draws_[language];
    const auto release =
        static_cast<size_t>(std::max(not_before, (numerator + denominator - 1) / denominator));
    next_[language] = waiting_[release];
    waiting_[release] = static_cast<int32_t>(language);
  }

  void admit(int64_t step) {
    for (int32_t l = waiting_[static_cast<size_t>(step)]; l != kNobody; l = next_[static_cast<size_t>(l)]) {
      const auto language = static_cast<size_t>(l);
      const int64_t deadline =
          (slack_ * (next_draw_[language] + 1) - 1) * kPeriod / (slack_ * draws_[language]) + 1;
      due_.push(static_cast<uint64_t>(deadline) << kLanguageBits | language);
    }
  }

  const std::vector<int64_t>& draws_;
  std::vector<int64_t> next_draw_;       // of each language: how many it has had
  std::vector<int32_t> waiting_, next_;  // lists of languages by step
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> due_;  // deadline, then language
  int64_t slack_ = 1;                                                         // 1 / e
};

}  // namespace

struct Sampler::State {
  uint64_t seed = 0;
  int64_t batch = 0;
  std::vector<int64_t> sequences, draws;
  std::vector<double> shares;
  std::vector<int32_t> order;    // language of each draw of a period
  std::vector<int32_t> ordinal;  // which draw of its language in the period that is
};

Sampler::Sampler(uint64_t seed, std::vector<double> shares, std::vector<int64_t> sequences, int64_t batch)
    : state_(std::make_unique<State>()) {
  if (batch < 1) fail_usage("[sampler] expected a batch of at least 1 sequence, got {}", batch);
  if (shares.size() != sequences.size())
    fail_usage("[sampler] expected a share for each of {} languages, got {}", sequences.size(),
               shares.size());
  for (size_t i = 0; i < shares.size(); ++i) {
    if (!(shares[i] >= 0) || std::isinf(shares[i]))
      fail_usage("[sampler] expected shares of 0 or more, got {} for language {}", shares[i], i);
    if (shares[i] > 0 && sequences[i] < 1)
      fail_usage("[sampler] language {} has a share of {} but no sequences", i, shares[i]);
  }
  const auto shared = std::count_if(shares.begin(), shares.end(), [](double share) { return share > 0; });
  if (shared < 1 || shared > kMostLanguages)
    fail_usage("[sampler] expected 1 to {} languages with a share, got {}", kMostLanguages, shared);
  State& state = *state_;
  state.seed = seed;
  state.batch = batch;
  state.sequences = std::move(sequences);
  state.draws = draws_per_period(shares);
  state.order = Schedule(state.draws).period();
  for (const int64_t n : state.draws)
    state.shares.push_back(static_cast<double>(n) / static_cast<double>(kPeriod));
  std::vector<int32_t> had(state.draws.size(), 0);
  for (const int32_t language : state.order) state.ordinal.push_back(had[static_cast<size_t>(language)]++);
}

Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;

Draw Sampler::draw(int64_t step, int64_t slot) const {
  assert(step >= 0 && slot >= 0 && slot < state_->batch);
  const int64_t n = step * state_->batch + slot;
  const auto place = static_cast<size_t>(n % kPeriod);
  const int32_t language = state_->order[place];
  const auto l = static_cast<size_t>(language);
  const int64_t nth = n / kPeriod * state_->draws[l] + state_->ordinal[place];
  const int64_t epoch = nth / state_->sequences[l];
  const uint64_t key = static_cast<uint64_t>(language) << 40 | static_cast<uint64_t>(epoch);
  const uint64_t sequence =
      permuted(static_cast<uint64_t>(nth % state_->sequences[l]), static_cast<uint64_t>(state_->sequences[l]),
               state_->seed, Purpose::kEpochOrder, key);
  return {.language = language, .sequence = static_cast<int64_t>(sequence), .epoch = epoch};
}

std::vector<int64_t> Sampler::counts_after(int64_t draws) const {
  std::vector<int64_t> counts;
  for (const int64_t n : state_->draws) counts.push_back(draws / kPeriod * n);
  for (int64_t i = 0; i < draws % kPeriod; ++i)
    ++counts[static_cast<size_t>(state_->order[static_cast<size_t>(i)])];
  return counts;
}

const std::vector<double>& Sampler::shares() const { return state_->shares; }
int64_t Sampler::batch() const { return state_->batch; }

}  // namespace fern
