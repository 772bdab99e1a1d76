#include "parallel/shared_region.h"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>

namespace fern {
namespace {

// Of a matrix and an embedding that all replicas hold, and, where ranks share experts, one of these.
Parameters some_parameters(bool own_experts) {
  Parameters parameters;
  parameters.add("embedding", {200, 100}, ParameterKind::kEmbedding, 0.02);
  parameters.add("matrix", {30, 40}, ParameterKind::kMatrix, 0.02);
  if (!own_experts) return parameters;
  parameters.begin_own_experts();
  parameters.add("expert", {300, 100}, ParameterKind::kMatrix, 0.02);
  return parameters;
}

TEST(SharedRegion, IsEverythingWhereRanksShareNoExperts) {
  const Parameters parameters = some_parameters(false);
  const std::vector<Region> regions = regions_of(parameters);
  ASSERT_EQ(regions.size(), 1u);
  EXPECT_FALSE(regions[0].own_experts);
  EXPECT_EQ(regions[0].elements(), parameters.padded_elements()) << "though it is not allocated";
  EXPECT_EQ(regions[0].list.size(), 2u);
}

TEST(SharedRegion, OwnExpertsAreOneOfTheirOwn) {
  const Parameters parameters = some_parameters(true);
  const std::vector<Region> regions = regions_of(parameters);
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_TRUE(regions[1].own_experts);
  EXPECT_EQ(regions[0].begin, 0);
  EXPECT_EQ(regions[0].end, 2 * kParameterChunk);
  EXPECT_EQ(regions[1].begin, regions[0].end);
  EXPECT_EQ(regions[1].end, parameters.padded_elements());
  EXPECT_EQ(regions[0].list.size(), 2u);
  EXPECT_EQ(regions[1].list.front().name, "expert");
}

// Weights that come to what all replicas hold take no room of the experts.
TEST(SharedRegion, HasRoomForTheWeightsThatMayCome) {
  Parameters parameters = some_parameters(true);
  std::vector<int64_t> one_a_row(201);
  std::iota(one_a_row.begin(), one_a_row.end(), int64_t{0});
  std::vector<SparseRun> sparse;
  sparse.push_back({{0, 1}, Pattern(200, 100, {}, one_a_row, std::vector<uint16_t>(200))});
  parameters.set_patterns(std::move(sparse));
  parameters.set_room(std::vector<int64_t>{20000, 1200, 30000});
  const std::vector<Region> room = regions_of(parameters);
  EXPECT_EQ(room[0].elements(), 2 * kParameterChunk);
  EXPECT_EQ(room[1].elements(), 2 * kParameterChunk);
  parameters.settle();
  const std::vector<Region> now = regions_of(parameters);
  EXPECT_EQ(now[0].elements(), kParameterChunk);
  EXPECT_EQ(now[1].begin, parameters.list()[2].offset);
  EXPECT_EQ(now[1].elements(), 2 * kParameterChunk);
}

TEST(SharedRegion, IsSummedByItsHolders) {
  const Parameters parameters = some_parameters(true);
  const std::vector<Region> regions = regions_of(parameters);
  const Mesh mesh{.data = 6, .expert = 2, .context = 2, .zero = 1};
  for (int replica = 0; replica < 12; ++replica) {
    const ReductionPlan all = plan_of(regions[0], mesh, 6, replica),
                        experts = plan_of(regions[1], mesh, 6, replica);
    EXPECT_EQ(all.rank, replica);
    EXPECT_EQ(all.ranks, 12);
    EXPECT_EQ(all.shards, 12) << "6 of each share of sequences";
    EXPECT_EQ(experts.ranks, 6);
    EXPECT_EQ(experts.shards, 6) << "each of two ranks' shards";
    EXPECT_EQ(experts.rank, replica / 6 * 3 + replica % 3);
    EXPECT_EQ(experts.share(), all.share());
  }
}

}  // namespace
}  // namespace fern
