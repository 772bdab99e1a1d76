#include "framework/data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/framework/data/fixture.h"

namespace fern {
namespace {

using testing_data::error_of;
using testing_data::mentions;
using testing_data::random_number;

constexpr int64_t kPeriod = 1 << 18;

// Shares over several orders of magnitude, as balance rules make them.
std::vector<double> random_shares(size_t languages, uint64_t key) {
  std::vector<double> shares;
  for (uint32_t i = 0; i < languages; ++i)
    shares.push_back(std::pow(random_uniform(1, Purpose::kTest, key, i), 1.0 + static_cast<double>(key % 6)) +
                     1e-7);
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= total;
  return shares;
}

Sampler sampler_of(const std::vector<double>& shares, int64_t batch = 8) {
  return Sampler(1, shares, std::vector<int64_t>(shares.size(), 5), batch);
}

// The largest distance of any language from its plan after any number of draws in one period.
double worst_discrepancy(const Sampler& sampler) {
  std::vector<double> drawn(sampler.shares().size(), 0.0);
  double worst = 0;
  for (int64_t n = 0; n < kPeriod; ++n) {
    const auto language = static_cast<size_t>(sampler.draw(n, 0).language);
    const auto off = [&](double steps) {
      return std::abs(drawn[language] - steps * sampler.shares()[language]);
    };
    // Between two of its draws a language's distance is largest just before and just after a draw.
    worst = std::max(worst, off(static_cast<double>(n)));
    drawn[language] += 1;
    worst = std::max(worst, off(static_cast<double>(n + 1)));
  }
  return worst;
}

TEST(Sampler, EachLanguageStaysWithinOneSequenceOfItsPlan) {
  for (const size_t languages : {1, 2, 3, 7, 50, 173, 600})
    for (uint64_t key = 0; key < 2; ++key)
      ASSERT_LT(worst_discrepancy(sampler_of(random_shares(languages, key + languages), 1)), 1.0)
          << languages << " languages";
}

TEST(Sampler, OnePeriodDrawsExactlyTheRoundedShares) {
  const Sampler sampler = sampler_of(random_shares(300, 5));
  const std::vector<int64_t> counts = sampler.counts_after(kPeriod);
  for (size_t i = 0; i < counts.size(); ++i)
    EXPECT_EQ(static_cast<double>(counts[i]), sampler.shares()[i] * static_cast<double>(kPeriod));
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), kPeriod);
}

TEST(Sampler, RoundingIsToTheNearestUnitsAndNeverToNone) {
  const std::vector<double> shares = random_shares(600, 5);
  const Sampler sampler = sampler_of(shares);
  for (size_t i = 0; i < shares.size(); ++i) {
    EXPECT_GE(sampler.shares()[i], 1.0 / static_cast<double>(kPeriod));
    if (shares[i] * static_cast<double>(kPeriod) >= 1) {
      EXPECT_NEAR(sampler.shares()[i], shares[i], 1.0 / static_cast<double>(kPeriod));
    }
  }
  const std::vector<double> lopsided{1.0 - 3e-9, 1e-9, 1e-9, 1e-9, 0.0};
  EXPECT_EQ(sampler_of({lopsided.begin(), lopsided.end() - 1}).counts_after(kPeriod),
            (std::vector<int64_t>{kPeriod - 3, 1, 1, 1}));
}

TEST(Sampler, CountsAfterAreThoseOfTheDraws) {
  const Sampler sampler = sampler_of(random_shares(20, 3), 7);
  std::vector<int64_t> counts(20, 0);
  for (int64_t step = 0; step < 40; ++step)
    for (int64_t slot = 0; slot < 7; ++slot) {
      EXPECT_EQ(sampler.counts_after(step * 7 + slot), counts);
      ++counts[static_cast<size_t>(sampler.draw(step, slot).language)];
    }
}

TEST(Sampler, EachEpochVisitsEachSequenceOnceInAnotherOrder) {
  const std::vector<int64_t> sequences{1, 13, 64, 100};
  const Sampler sampler(9, {0.1, 0.2, 0.3, 0.4}, sequences, 16);
  std::vector<std::vector<std::vector<int64_t>>> visits(4);
  for (int64_t step = 0; step < 200; ++step)
    for (int64_t slot = 0; slot < 16; ++slot) {
      const Draw draw = sampler.draw(step, slot);
      auto& epochs = visits[static_cast<size_t>(draw.language)];
      if (draw.epoch == static_cast<int64_t>(epochs.size())) epochs.emplace_back();
      ASSERT_EQ(draw.epoch, static_cast<int64_t>(epochs.size()) - 1);
      epochs.back().push_back(draw.sequence);
    }
  for (size_t language = 0; language < 4; ++language) {
    auto& epochs = visits[language];
    ASSERT_GT(epochs.size(), 3u);
    if (language > 0) {
      EXPECT_NE(epochs[0], epochs[1]);
    }
    epochs.pop_back();
    for (const auto& epoch : epochs) {
      ASSERT_EQ(static_cast<int64_t>(epoch.size()), sequences[language]);
      ASSERT_EQ(std::set<int64_t>(epoch.begin(), epoch.end()).size(), epoch.size());
      ASSERT_LT(*std::max_element(epoch.begin(), epoch.end()), sequences[language]);
    }
  }
}

TEST(Sampler, DrawsDependOnTheirPlaceAlone) {
  const std::vector<double> shares = random_shares(9, 4);
  const Sampler forward = sampler_of(shares), backward = sampler_of(shares);
  std::vector<Draw> draws;
  for (int64_t i = 0; i < 400; ++i) draws.push_back(forward.draw(i / 8, i % 8));
  for (int64_t i = 399; i >= 0; --i) {
    const Draw again = backward.draw(i / 8, i % 8), first = draws[static_cast<size_t>(i)];
    ASSERT_EQ(again.language, first.language);
    ASSERT_EQ(again.sequence, first.sequence);
    ASSERT_EQ(again.epoch, first.epoch);
  }
}

TEST(Sampler, BatchSizeOnlyRegroupsTheDraws) {
  const std::vector<double> shares = random_shares(9, 4);
  const Sampler small = sampler_of(shares, 4), large = sampler_of(shares, 16);
  for (int64_t i = 0; i < 160; ++i)
    ASSERT_EQ(small.draw(i / 4, i % 4).sequence, large.draw(i / 16, i % 16).sequence);
}

TEST(Sampler, EpochsGoOnPastAPeriod) {
  const Sampler sampler(1, {0.25, 0.75}, {1000, 1000}, 1);
  int64_t last_epoch = -1;
  for (int64_t n = kPeriod - 100; n < kPeriod + 100; ++n) {
    const Draw draw = sampler.draw(n, 0);
    if (draw.language != 1) continue;
    EXPECT_EQ(draw.epoch, sampler.counts_after(n)[1] / 1000);
    EXPECT_GE(draw.epoch, last_epoch);
    last_epoch = draw.epoch;
  }
}

TEST(Sampler, RefusesWhatCannotBe) {
  const auto refusal = [](std::vector<double> shares, std::vector<int64_t> sequences, int64_t batch = 1) {
    return error_of([&] { Sampler(1, shares, sequences, batch); });
  };
  EXPECT_TRUE(mentions(refusal({1}, {5}, 0), {"batch of at least 1", "got 0"}));
  EXPECT_TRUE(mentions(refusal({0.5, 0.5}, {5, 0}), {"language 1", "no sequences"}));
  EXPECT_TRUE(mentions(refusal({1}, {5, 5}), {"each of 2 languages, got 1"}));
  EXPECT_TRUE(mentions(refusal({-1, 2}, {5, 5}), {"got -1 for language 0"}));
  EXPECT_TRUE(mentions(refusal({0, 0}, {5, 5}), {"languages with a share, got 0"}));
  EXPECT_EQ(refusal({1, 0}, {5, 0}), "no error");
}

}  // namespace
}  // namespace fern
