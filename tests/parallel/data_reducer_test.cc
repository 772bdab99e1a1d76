#include "parallel/data_reducer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/core/error.h"
#include "framework/core/rng.h"
#include "framework/train/solo_reducer.h"
#include "parallel/parallelize.h"
#include "tests/support/mpi_main.h"

namespace fern {
namespace {

using testing_support::world;

constexpr int64_t kShardCounts[] = {1, 2, 3, 4, 6, 8, 12};

// Magnitudes up to 2^20 and down to 2^-20 and below, so that the order of sums shows in the bits.
std::vector<float> random_gradient(int64_t key, int64_t elements) {
  std::vector<float> values(static_cast<size_t>(elements));
  auto state = static_cast<uint64_t>(key);
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const float mantissa = static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31f;
    value = mantissa * std::bit_cast<float>(static_cast<uint32_t>(107 + (state >> 27) % 41) << 23);
  }
  return values;
}

// Parameters of 5 chunks, the last one mostly padding, with a reducer over them that cuts one bucket a chunk.
struct Replica {
  static constexpr int64_t kSizes[] = {2 * kParameterChunk + 100, 1, kParameterChunk / 2,
                                       kParameterChunk + kParameterChunk / 2 + 220};
  static constexpr int64_t kElements = 4 * kParameterChunk + 321;

  Replica(Communicator& communicator, int64_t shards, int64_t zero)
      : memory("test", 32 * 6 * kParameterChunk * sizeof(float)) {
    for (int64_t elements : kSizes)
      parameters.add("weight" + std::to_string(elements), {elements}, ParameterKind::kMatrix, 0.0);
    parameters.allocate(memory, DType::kF32);
    mesh = resolve({.data = 0, .zero = zero}, communicator.size(), shards);
    reducers = parallelize(parameters, mesh, shards, communicator, memory);
    if (communicator.size() == 1) return;
    auto small_buckets = std::make_unique<DataReducer>(
        parameters,
        plan_reduction(parameters.padded_elements(), shards, communicator.rank(), communicator.size(), zero,
                       kParameterChunk),
        communicator, memory);
    overlapping = small_buckets.get();
    reducers.gradients = std::move(small_buckets);
  }

  // One micro-batch's backward, from the last parameter to the first.
  void backward(int64_t shard, int64_t key) {
    float* gradients = parameters.gradients().as<float>();
    const std::vector<float> added = random_gradient(shard * 1000 + key, kElements);
    for (size_t p = parameters.list().size(); p-- > 0;) {
      const Parameter& parameter = parameters.list()[p];
      for (int64_t i = parameter.offset; i < parameter.offset + parameter.elements(); ++i)
        gradients[i] += added[static_cast<size_t>(i)];
      reducers.gradients->add(parameter);
      if (overlapping != nullptr) started.push_back(overlapping->started());
    }
  }

  void reduce(int64_t step, int64_t micro_batches = 2, bool tell_last = true) {
    GradReducer& reducer = *reducers.gradients;
    for (int64_t i = 0; i < reducer.shards(); ++i) {
      reducer.begin_shard();
      for (int64_t micro = 0; micro < micro_batches; ++micro) {
        if (tell_last && micro + 1 == micro_batches) reducer.begin_last_micro_batch();
        backward(reducer.shard(i), 10 * step + micro);
      }
      reducer.end_shard();
    }
    reducer.finish();
  }

  std::span<float> gradients() { return parameters.gradients().values<float>(); }
  std::span<float> values() { return parameters.values().values<float>(); }

  Arena memory;
  Mesh mesh;
  Parameters parameters;
  Reducers reducers;
  const DataReducer* overlapping = nullptr;  // on several ranks
  std::vector<int64_t> started;              // buckets, after each report
};

testing::AssertionResult same_bits(std::span<const float> expected, std::span<const float> got) {
  if (expected.size() != got.size())
    return testing::AssertionFailure() << expected.size() << " and " << got.size() << " elements";
  for (size_t i = 0; i < expected.size(); ++i)
    if (std::bit_cast<uint32_t>(expected[i]) != std::bit_cast<uint32_t>(got[i]))
      return testing::AssertionFailure() << "element " << i << ": " << expected[i] << " and " << got[i];
  return testing::AssertionSuccess();
}

std::span<const float> part(std::span<const float> whole, Slice slice) {
  return whole.subspan(static_cast<size_t>(slice.begin), static_cast<size_t>(slice.elements()));
}

// Of a reducer of one region.
Slice kept_by(const GradReducer& reducer) { return reducer.slices().list().front(); }

// Runs `body(replica, solo)` for the ZeRO stages that differ here and each shard count that these ranks can
// share.
template <typename Body>
void for_each_layout(const Body& body) {
  const auto alone = make_solo_communicator();
  for (int64_t zero : {0, 1, 2})
    for (int64_t shards : kShardCounts) {
      if (shards % world().size() != 0) continue;
      SCOPED_TRACE(testing::Message() << shards << " shards, zero " << zero);
      Replica replica(world(), shards, zero), solo(*alone, shards, 0);
      body(replica, solo);
    }
}

TEST(DataReducer, EqualsTheSoloReducerToTheBit) {
  for_each_layout([](Replica& replica, Replica& solo) {
    for (int64_t step = 0; step < 3; ++step) {
      const int64_t micro_batches = step + 1;
      replica.reduce(step, micro_batches);
      solo.reduce(step, micro_batches);
      const Slice slice = kept_by(*replica.reducers.gradients);
      EXPECT_TRUE(same_bits(part(solo.gradients(), slice), part(replica.gradients(), slice)));
    }
  });
}

TEST(DataReducer, ReducesAfterBackwardWhatItIsNotToldOf) {
  for_each_layout([](Replica& replica, Replica& solo) {
    replica.reduce(0, 2, false);
    solo.reduce(0, 2);
    EXPECT_EQ(std::count(replica.started.begin(), replica.started.end(), 0), std::ssize(replica.started));
    const Slice slice = kept_by(*replica.reducers.gradients);
    EXPECT_TRUE(same_bits(part(solo.gradients(), slice), part(replica.gradients(), slice)));
  });
}

// The last parameter completes two buckets; the first three are not complete before the first parameter.
TEST(DataReducer, BucketsStartAsBackwardCompletesThem) {
  if (world().size() == 1) GTEST_SKIP() << "needs two ranks";
  for_each_layout([](Replica& replica, Replica&) {
    replica.reduce(0);
    const std::span<const int64_t> last = std::span<const int64_t>(replica.started).last(4);
    // Of all shards but the last, or with rounds of the last shard alone.
    const auto end = replica.started.end() - 4,
               begin = replica.mesh.zero > 1 ? end - 4 : replica.started.begin();
    EXPECT_EQ(std::count(begin, end, 0), end - begin)
        << "a bucket started before the last micro-batch of a shard that is exchanged";
    EXPECT_EQ(last[0], 2);
    EXPECT_EQ(last[2], 2);
    EXPECT_EQ(last[3], 5);
  });
}

TEST(DataReducer, NextStepBeforeTheEndOfTheLastIsRefused) {
  if (world().size() == 1) GTEST_SKIP() << "needs two ranks";
  Replica replica(world(), world().size(), 0);
  if (world().rank() > 0) world().barrier();  // the first rank gets nothing before it has asked
  replica.reducers.gradients->begin_shard();
  replica.reducers.gradients->begin_last_micro_batch();
  replica.backward(0, 0);
  replica.reducers.gradients->end_shard();
  if (world().rank() == 0) {
    EXPECT_THROW(replica.reducers.gradients->begin_shard(), Error);
    world().barrier();
  }
  replica.reducers.gradients->finish();
}

TEST(DataReducer, WithoutZeroEveryRankHoldsTheWholeSum) {
  if (12 % world().size() != 0) GTEST_SKIP() << "12 shards do not divide";
  Replica replica(world(), 12, 0);
  EXPECT_EQ(replica.reducers.gradients->slices(), (Slices{0, replica.parameters.padded_elements()}));
}

TEST(DataReducer, CountedPartsCoverEverythingOnce) {
  for_each_layout([](Replica& replica, Replica&) {
    const Slice counted = replica.reducers.gradients->counted().list().front();
    std::vector<double> covered(static_cast<size_t>(replica.parameters.padded_elements() / kParameterChunk));
    for (int64_t at = counted.begin; at < counted.end; at += kParameterChunk)
      covered[static_cast<size_t>(at / kParameterChunk)] += 1.0;
    replica.reducers.scalars->sum(covered);
    EXPECT_EQ(covered, std::vector<double>(covered.size(), 1.0));
  });
}

TEST(DataReducer, GatherValuesMakesEveryRankWhole) {
  for_each_layout([](Replica& replica, Replica&) {
    const Slice slice = kept_by(*replica.reducers.gradients);
    for (int64_t i = slice.begin; i < slice.end; ++i)
      replica.values()[static_cast<size_t>(i)] = static_cast<float>(i + 1);
    replica.reducers.gradients->gather_values();
    for (size_t i = 0; i < replica.values().size(); ++i)
      ASSERT_EQ(replica.values()[i], static_cast<float>(i + 1)) << "element " << i;
  });
}

TEST(DataReducer, SlicesAreGatheredEverywhere) {
  for_each_layout([](Replica& replica, Replica&) {
    GradReducer& gradients = *replica.reducers.gradients;
    std::vector<float> moments;
    for (int64_t i = kept_by(gradients).begin; i < kept_by(gradients).end; ++i)
      moments.push_back(static_cast<float>(i + 7));
    std::vector<float> whole(replica.values().size());
    gradients.gather_everywhere(whole, moments);
    for (size_t i = 0; i < whole.size(); ++i)
      ASSERT_EQ(whole[i], static_cast<float>(i + 7)) << "element " << i;
  });
}

// Resident pages of whole chunks, in chunks.
int64_t resident_chunks(const Tensor& tensor) {
  const auto start = reinterpret_cast<uintptr_t>(tensor.data());
  EXPECT_EQ(start % 4096, 0u);
  std::vector<unsigned char> pages(tensor.bytes() / 4096);
  EXPECT_EQ(mincore(tensor.data(), tensor.bytes(), pages.data()), 0);
  const auto resident =
      std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
  return resident * 4096 / (kParameterChunk * static_cast<int64_t>(sizeof(float)));
}

// Backward goes over 64 chunks, a bucket each, in 16 parameters: never is more memory than the bound says,
// and in the end it is the slice.
TEST(DataReducer, MemoryOfGradientsIsWhatLives) {
  if (world().size() == 1) GTEST_SKIP() << "needs two ranks";
  const int64_t chunks = 64, shards = 4 * world().size();
  Parameters parameters;
  for (int i = 0; i < 16; ++i) {
    parameters.begin_group();
    parameters.add("weight" + std::to_string(i), {chunks / 16 * kParameterChunk}, ParameterKind::kMatrix,
                   0.0);
  }
  Arena memory("test", size_t{1} << 26);
  Arena gradients = Arena::reserving("gradients", size_t{1} << 26);
  parameters.allocate(memory, gradients, DType::kF32);
  const ReductionPlan plan = plan_reduction(parameters.padded_elements(), shards, world().rank(),
                                            world().size(), 2, kParameterChunk);
  DataReducer reducer(parameters, plan, world(), memory);
  const int64_t slice = reducer.slices().elements() / kParameterChunk;
  int64_t most = 0;
  for (int64_t i = 0; i < reducer.shards(); ++i) {
    reducer.begin_shard();
    reducer.begin_last_micro_batch();
    for (size_t p = parameters.list().size(); p-- > 0;) {
      for (float& gradient : parameters.gradient(static_cast<int>(p)).values<float>()) gradient += 1.0f;
      most = std::max(most, resident_chunks(parameters.gradients()));
      reducer.add(parameters.list()[p]);
    }
    reducer.end_shard();
    EXPECT_EQ(resident_chunks(parameters.gradients()), i + 1 == reducer.shards() ? slice : 0);
  }
  reducer.finish();
  EXPECT_LE(most, slice + chunks / 16 + kExchangeLanes + 1);
  for (float sum : part(parameters.gradients().values<float>(), kept_by(reducer)))
    ASSERT_EQ(sum, static_cast<float>(shards));
}

// More buckets than lanes, of more than one MPI message, and a shorter one at the end.
TEST(DataReducer, LanesTakeOneBucketAfterAnother) {
  const int64_t shards = world().size();
  const int64_t elements = (kExchangeLanes + 1) * kLargestBucket + kParameterChunk;
  Arena memory("test", static_cast<size_t>(16 * elements) * sizeof(float));
  Parameters parameters;
  parameters.add("weight", {elements}, ParameterKind::kMatrix, 0.0);
  parameters.allocate(memory, DType::kF32);
  const Mesh mesh = resolve({.data = 0}, world().size(), shards);
  const Reducers reducers = parallelize(parameters, mesh, shards, world(), memory);
  reducers.gradients->begin_shard();
  const auto gradients = parameters.gradients().values<float>();
  for (int64_t i = 0; i < elements; ++i)
    gradients[static_cast<size_t>(i)] = static_cast<float>(i % 1000 + world().rank());
  reducers.gradients->end_shard();
  reducers.gradients->finish();
  const auto n = world().size();
  for (int64_t i = 0; i < elements; ++i)
    ASSERT_EQ(gradients[static_cast<size_t>(i)], static_cast<float>(i % 1000 * n + n * (n - 1) / 2))
        << "element " << i;
}

TEST(ReducerBytes, AreWhatTheReducersTake) {
  for_each_layout([](Replica& replica, Replica&) {
    const int64_t shards = replica.reducers.gradients->shards() * world().size();
    Arena memory("test", 64 * 6 * kParameterChunk * sizeof(float));
    const Reducers reducers = parallelize(replica.parameters, replica.mesh, shards, world(), memory);
    std::vector<double> taken(static_cast<size_t>(world().size()));
    taken[static_cast<size_t>(world().rank())] = static_cast<double>(memory.used_bytes());
    reducers.scalars->sum(taken);
    EXPECT_EQ(static_cast<double>(reducer_bytes(replica.parameters, replica.mesh, shards)),
              *std::max_element(taken.begin(), taken.end()));
  });
}

TEST(OptimizerElements, AreThoseOfTheLongestSlice) {
  for_each_layout([](Replica& replica, Replica&) {
    std::vector<double> kept(static_cast<size_t>(world().size()));
    kept[static_cast<size_t>(world().rank())] =
        static_cast<double>(replica.reducers.gradients->slices().elements());
    replica.reducers.scalars->sum(kept);
    EXPECT_EQ(static_cast<double>(optimizer_elements(replica.parameters, replica.mesh)),
              *std::max_element(kept.begin(), kept.end()));
  });
}

TEST(RankScalars, SumIsExactWhereOneRankSpeaks) {
  const auto alone = make_solo_communicator();
  const Replica replica(world(), 12 * world().size(), 0);
  std::vector<double> values(101), expected(101);
  for (size_t i = 0; i < values.size(); ++i) {
    expected[i] = random_normal(3, Purpose::kTest, i) * std::exp2(static_cast<double>(i) - 50.0);
    if (static_cast<int>(i) % world().size() == world().rank()) values[i] = expected[i];
  }
  replica.reducers.scalars->sum(values);
  EXPECT_EQ(values, expected);
}

TEST(RankScalars, AnyIsTrueOnAllWhenTrueOnOne) {
  const Replica replica(world(), 12 * world().size(), 0);
  for (int speaker = 0; speaker < world().size(); ++speaker)
    EXPECT_TRUE(replica.reducers.scalars->any(world().rank() == speaker));
  EXPECT_FALSE(replica.reducers.scalars->any(false));
}

}  // namespace
}  // namespace fern
