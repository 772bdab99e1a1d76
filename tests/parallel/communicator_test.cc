#include "parallel/communicator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "framework/core/error.h"
#include "parallel/mpi_communicator.h"
#include "tests/support/mpi_main.h"

namespace fern {
namespace {

using testing_support::world;

// What rank `from` says to rank `to`: `count` values that no other pair says.
std::vector<float> speech(int from, int to, size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), static_cast<float>(1000 * from + 10000 * to));
  return values;
}

void finish_exchange(Communicator& communicator, int lane) {
  while (!communicator.exchange_done(lane)) communicator.progress();
}

// Every pair of ranks exchanges messages whose length depends on the pair.
void expect_exchange_delivers(Communicator& communicator, size_t unit) {
  const int rank = communicator.rank();
  const int ranks = communicator.size();
  std::vector<std::vector<float>> sent, received;
  for (int other = 0; other < ranks; ++other) {
    sent.push_back(speech(rank, other, unit * static_cast<size_t>(other)));
    received.emplace_back(unit * static_cast<size_t>(rank));
  }
  std::vector<Incoming> incoming;
  std::vector<Outgoing> outgoing;
  for (int other = 0; other < ranks; ++other) {
    if (other == rank) continue;
    incoming.push_back({other, received[static_cast<size_t>(other)]});
    outgoing.push_back({other, sent[static_cast<size_t>(other)]});
  }
  communicator.start_exchange({.lane = 1}, incoming, outgoing);
  finish_exchange(communicator, 1);
  for (const Incoming& message : incoming)
    EXPECT_EQ(received[static_cast<size_t>(message.rank)], speech(message.rank, rank, message.values.size()));
}

TEST(Communicator, KnowsItsPlace) {
  EXPECT_GE(world().rank(), 0);
  EXPECT_LT(world().rank(), world().size());
  EXPECT_EQ(world().local_size(), world().size()) << "this test runs on one machine";
  EXPECT_EQ(world().local_rank(), world().rank());
}

TEST(Communicator, SumsOverRanksOnAllRanks) {
  std::vector<double> values = {1.0, static_cast<double>(world().rank())};
  world().all_reduce_sum(values);
  const double n = world().size();
  EXPECT_EQ(values, (std::vector<double>{n, n * (n - 1) / 2}));
}

TEST(Communicator, ExchangeDeliversToEachRankItsOwn) { expect_exchange_delivers(world(), 5000); }

// Each rank starts the lanes in its own order.
TEST(Communicator, LanesDoNotMix) {
  const int next = (world().rank() + 1) % world().size();
  const int previous = (world().rank() + world().size() - 1) % world().size();
  if (next == world().rank()) GTEST_SKIP() << "needs two ranks";
  std::vector<float> first(100000), second(100000);
  const std::vector<float> one(first.size(), 1.0f), two(first.size(), 2.0f);
  const auto start = [&](int lane) {
    world().start_exchange({.lane = lane}, {{{previous, lane == 0 ? first : second}}},
                           {{{next, lane == 0 ? one : two}}});
  };
  start(world().rank() % 2);
  start(1 - world().rank() % 2);
  finish_exchange(world(), 1);
  EXPECT_EQ(second, two);
  finish_exchange(world(), 0);
  EXPECT_EQ(first, one);
}

TEST(Communicator, SecondExchangeOnALaneIsRefused) {
  if (world().size() == 1) GTEST_SKIP() << "needs two ranks";
  const int other = (world().rank() + 1) % world().size();
  const int before = (world().rank() + world().size() - 1) % world().size();
  std::vector<float> received(100000);
  const std::vector<float> sent(received.size(), 1.0f);
  world().start_exchange({.lane = 0}, {{{before, received}}}, {{{other, sent}}});
  EXPECT_THROW(world().start_exchange({.lane = 0}, {}, {}), Error);
  finish_exchange(world(), 0);
}

// As one rank would do that sees the gradients cut otherwise.
TEST(Communicator, MessageOfAnotherSizeNamesItsSender) {
  const int next = (world().rank() + 1) % world().size();
  const int previous = (world().rank() + world().size() - 1) % world().size();
  if (next == world().rank()) GTEST_SKIP() << "needs two ranks";
  MpiCommunicator ranks(MPI_COMM_WORLD);
  std::vector<float> received(1000);
  const std::vector<float> sent(999, 1.0f);
  ranks.start_exchange({.lane = 2}, {{{previous, received}}}, {{{next, sent}}});
  try {
    finish_exchange(ranks, 2);
    FAIL() << "it passed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPeerFailed);
    EXPECT_NE(std::string(error.what()).find("rank " + std::to_string(previous) + " sent 999 values"),
              std::string::npos)
        << error.what();
  }
  world().barrier();
}

TEST(Communicator, LaneWithoutAnExchangeIsDone) { EXPECT_TRUE(world().exchange_done(kExchangeLanes - 1)); }

TEST(Communicator, AllGatherMakesUnevenBlocksWhole) {
  std::vector<int64_t> counts;
  std::vector<float> expected;
  for (int rank = 0; rank < world().size(); ++rank) {
    counts.push_back(rank == 1 ? 0 : 700 * (rank + 1));
    const auto block = speech(rank, 0, static_cast<size_t>(counts.back()));
    expected.insert(expected.end(), block.begin(), block.end());
  }
  std::vector<float> values(expected.size());
  const auto own = static_cast<size_t>(world().rank());
  const auto begin = std::accumulate(counts.begin(), counts.begin() + world().rank(), int64_t{0});
  std::copy_n(expected.begin() + begin, counts[own], values.begin() + begin);
  world().all_gather(values, counts);
  EXPECT_EQ(values, expected);
}

// Ranks of even and of odd number; and, at the end, none.
TEST(Communicator, GroupsExchangeAmongThemselves) {
  const int parity = world().rank() % 2;
  const auto group = world().group(Axis::kData, parity);
  ASSERT_NE(group, nullptr);
  EXPECT_EQ(group->size(), (world().size() + 1 - parity) / 2);
  EXPECT_EQ(group->rank(), world().rank() / 2);
  std::vector<double> values = {1.0, static_cast<double>(world().rank())};
  group->all_reduce_sum(values);
  double sum = 0;
  for (int rank = parity; rank < world().size(); rank += 2) sum += rank;
  EXPECT_EQ(values, (std::vector<double>{static_cast<double>(group->size()), sum}));
  EXPECT_EQ(world().group(Axis::kWrapLink, world().size() == 1 ? -1 : parity - 1) == nullptr,
            world().size() == 1 || parity == 0);
}

TEST(Communicator, GroupsKeepTheOrderThatIsAskedFor) {
  const auto group = world().group(Axis::kContext, 0, world().size() - 1 - world().rank());
  EXPECT_EQ(group->rank(), world().size() - 1 - world().rank());
}

TEST(Communicator, BroadcastReachesAll) {
  const int root = world().size() - 1;
  std::vector<std::byte> bytes(1 << 16, std::byte{world().rank() == root ? uint8_t{7} : uint8_t{0}});
  world().broadcast(bytes, root);
  EXPECT_EQ(bytes, std::vector<std::byte>(1 << 16, std::byte{7}));
}

// As if one MPI call carried at most 64 bytes: what passes here passes beyond 2^31 elements.
TEST(Communicator, LongMessagesGoInParts) {
  if (world().size() == 1) GTEST_SKIP() << "needs two ranks";
  MpiCommunicator parts(MPI_COMM_WORLD, 64);
  expect_exchange_delivers(parts, 37);
  std::vector<double> sums(19, 1.0);
  parts.all_reduce_sum(sums);
  EXPECT_EQ(sums, std::vector<double>(19, world().size()));
  std::vector<std::byte> bytes(150, std::byte{parts.rank() == 0 ? uint8_t{3} : uint8_t{0}});
  parts.broadcast(bytes, 0);
  EXPECT_EQ(bytes, std::vector<std::byte>(150, std::byte{3}));
}

// Each blocks until the other sends, however long the messages.
TEST(Communicator, SimultaneousLongMessagesDoNotBlock) { expect_exchange_delivers(world(), 1 << 20); }

}  // namespace
}  // namespace fern
