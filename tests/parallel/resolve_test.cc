#include <gtest/gtest.h>

#include <string>

#include "framework/core/error.h"
#include "parallel/mesh.h"

namespace fern {
namespace {

// Fails unless the mesh is refused as bad usage with `part` in the message.
void expect_refused(const Mesh& mesh, int ranks, int64_t shards, const std::string& part,
                    int64_t layers = 4) {
  try {
    resolve(mesh, ranks, shards, layers);
    FAIL() << "expected an error with: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Resolve, ZeroMeansAsManyAsThereAre) { EXPECT_EQ(resolve({.data = 0}, 4, 8).data, 4); }

TEST(Resolve, KeepsWhatFits) {
  const Mesh mesh = resolve({.data = 2, .zero = 1}, 2, 6);
  EXPECT_EQ(mesh.data, 2);
  EXPECT_EQ(mesh.zero, 1);
}

TEST(Resolve, OtherNumberOfRanksIsRefused) { expect_refused({.data = 3}, 4, 12, "mpirun -n 3"); }

TEST(Resolve, ShardsThatDoNotDivideNameTheRanksThatWould) {
  expect_refused({.data = 0}, 4, 6, "use one of 1, 2, 3, 6 ranks");
}

TEST(Resolve, NoShardsAreRefused) { expect_refused({.data = 1}, 1, 0, "expected at least 1"); }

TEST(Resolve, NoShareOfSequencesIsRefused) {
  expect_refused({.data = 1, .context = 0}, 1, 1, "parallel.context = 0");
}

TEST(Resolve, AllAxesGoTogetherWithEveryZeroStage) {
  for (int64_t zero = 0; zero <= 3; ++zero) {
    const Mesh mesh =
        resolve({.data = 0, .tensor = 2, .pipeline = 2, .expert = 2, .context = 2, .zero = zero}, 32, 8, 2);
    EXPECT_EQ(mesh.data, 4);
    EXPECT_EQ(mesh.replicas(), 8);
    EXPECT_EQ(mesh.expert_replicas(), 4);
  }
}

TEST(Resolve, StagesTakeTheirShareOfTheRanks) {
  const Mesh mesh = resolve({.data = 0, .pipeline = 2}, 6, 6, 4);
  EXPECT_EQ(mesh.data, 3);
  EXPECT_EQ(mesh.ranks(), 6);
}

TEST(Resolve, StagesThatDoNotFitNameThoseThatWould) {
  expect_refused({.data = 0, .pipeline = 5}, 5, 1, "expected 1 to 4, since each stage has");
  expect_refused({.data = 0, .pipeline = 4}, 6, 1, "start 8 (mpirun -n 8), or set one of 1, 2, 3, 6");
  expect_refused({.data = 2, .pipeline = 2}, 6, 6, "mpirun -n 4");
  expect_refused({.data = 0, .pipeline = 2}, 6, 4, "3 ranks of each stage; use one of 1, 2, 4 ranks");
}

TEST(Resolve, PartsOfStagesHaveALayerEachAndOthersBetweenThem) {
  EXPECT_EQ(resolve({.data = 0, .pipeline = 2, .virtual_stages = 3}, 4, 4, 7).virtual_stages, 3);
  expect_refused({.data = 0, .pipeline = 2, .virtual_stages = 4}, 4, 4, "expected 1 to 3, since each of", 7);
  expect_refused({.data = 0, .pipeline = 2, .virtual_stages = 0}, 4, 4, "expected 1 to 3, since each of", 7);
  expect_refused({.data = 0, .virtual_stages = 2}, 4, 4, "or parallel.pipeline = 2 or more", 7);
}

TEST(Resolve, SharesTakeTheirPartOfTheRanks) {
  const Mesh mesh = resolve({.data = 0, .tensor = 2}, 6, 6);
  EXPECT_EQ(mesh.data, 3);
  EXPECT_EQ(mesh.ranks(), 6);
  EXPECT_EQ(most_ranks({.data = 0, .tensor = 2}, 7, 4), 4);
}

TEST(Resolve, StagesAndSharesLeaveTheRestToData) {
  const Mesh mesh = resolve({.data = 0, .tensor = 2, .pipeline = 2}, 8, 6, 4);
  EXPECT_EQ(mesh.data, 2);
  EXPECT_EQ(mesh.ranks(), 8);
  EXPECT_EQ(most_ranks({.data = 0, .tensor = 2, .pipeline = 2}, 15, 12), 12);
}

TEST(Resolve, SharesThatDoNotFitNameThoseThatWould) {
  expect_refused({.data = 0, .tensor = 4}, 6, 1, "start 8 (mpirun -n 8), or set one of 1, 2, 3, 6");
  expect_refused({.data = 2, .tensor = 2}, 6, 6, "x parallel.tensor = 2, but there are 6 ranks");
  expect_refused({.data = 0, .tensor = 3, .pipeline = 2}, 8, 1,
                 "4 ranks of each stage; start 12 (mpirun -n 12), or set one of 1, 2, 4");
}

TEST(Resolve, SequencesTakeTheirPartOfTheRanks) {
  const Mesh mesh = resolve({.data = 0, .pipeline = 2, .context = 2}, 12, 3, 2);
  EXPECT_EQ(mesh.data, 3);
  EXPECT_EQ(mesh.ranks(), 12);
  EXPECT_EQ(most_ranks({.data = 0, .context = 2}, 7, 4), 4);
  expect_refused({.data = 0, .context = 4}, 6, 1, "start 8 (mpirun -n 8), or set one of 1, 2, 3, 6");
  expect_refused({.data = 2, .context = 2}, 6, 6,
                 "x parallel.context = 2 x parallel.tensor = 1, but there are 6");
}

TEST(Resolve, ExpertsAreSharedByDataRanks) {
  const Mesh mesh = resolve({.data = 0, .expert = 2}, 4, 8);
  EXPECT_EQ(mesh.data, 4);
  EXPECT_EQ(mesh.expert_replicas(), 2);
  EXPECT_EQ(mesh.ranks(), 4);
  EXPECT_EQ(resolve({.data = 0, .pipeline = 2, .expert = 2}, 4, 8, 2).data, 2);
  expect_refused(
      {.data = 0, .expert = 3}, 4, 8,
      "parallel.expert = 3 does not divide parallel.data = 4, whose ranks share the experts; one of 1, 2, "
      "4 would");
  expect_refused({.data = 0, .expert = 0}, 4, 8, "parallel.expert = 0");
  EXPECT_EQ(most_ranks({.data = 0, .expert = 2}, 7, 12), 6);
  EXPECT_EQ(most_ranks({.data = 0, .expert = 2}, 5, 12), 4);
  EXPECT_THROW(most_ranks({.data = 0, .expert = 2}, 5, 3), Error);
}

TEST(Resolve, UnknownZeroStagesAreRefused) {
  expect_refused({.data = 2, .zero = 4}, 2, 2, "parallel.zero = 4");
}

TEST(Resolve, MostRanksDivideTheShards) {
  EXPECT_EQ(most_ranks({.data = 0}, 3, 4), 2);
  EXPECT_EQ(most_ranks({.data = 0}, 7, 12), 6);
  EXPECT_EQ(most_ranks({.data = 0}, 5, 1), 1);
  EXPECT_EQ(most_ranks({.data = 2}, 3, 4), 2);
  EXPECT_EQ(most_ranks({.data = 0, .pipeline = 2}, 7, 4), 4);
  EXPECT_EQ(most_ranks({.data = 2, .pipeline = 3}, 7, 4), 6);
  EXPECT_THROW(most_ranks({.data = 4}, 3, 4), Error);
  EXPECT_THROW(most_ranks({.data = 0, .pipeline = 4}, 3, 4), Error);
}

}  // namespace
}  // namespace fern
