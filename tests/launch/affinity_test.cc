#include "launch/affinity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace fern {
namespace {

TEST(Affinity, SharesAreDisjointAndTogetherAllCores) {
  const std::vector<int> cores = {4, 5, 6, 7, 0, 1, 2};
  for (const int parts : {1, 2, 3, 7}) {
    std::vector<int> together;
    for (int part = 0; part < parts; ++part) {
      const std::vector<int> share = share_of(cores, part, parts);
      EXPECT_GE(share.size(), cores.size() / static_cast<size_t>(parts));
      together.insert(together.end(), share.begin(), share.end());
    }
    EXPECT_EQ(together, cores) << parts << " parts";
  }
}

TEST(Affinity, AThreadAndThoseItStartsStayOnTheirCores) {
  std::vector<int> seen;
  const int last = allowed_cores().back();
  std::jthread([&] {
    ASSERT_TRUE(keep_on({last}));
    std::jthread([&] { seen = allowed_cores(); }).join();
  }).join();
  EXPECT_EQ(seen, std::vector<int>{last});
  EXPECT_GE(allowed_cores().size(), seen.size());
}

TEST(Affinity, RanksWithMoreThreadsThanCoresAreLeftAlone) {
  const std::vector<int> cores = allowed_cores();
  EXPECT_TRUE(take_own_cores(0, 2, static_cast<int64_t>(cores.size())).empty());
  EXPECT_TRUE(take_own_cores(0, 1, 1).empty());
  EXPECT_EQ(allowed_cores(), cores);
}

TEST(Affinity, TextGivesRanges) {
  EXPECT_EQ(cores_text({8, 0, 1, 2, 3, 10}), "0-3, 8, 10");
  EXPECT_EQ(cores_text({}), "");
}

}  // namespace
}  // namespace fern
