#include "parallel/rank_pattern_link.h"

#include <algorithm>
#include <numeric>

#include "framework/core/error.h"

namespace fern {

namespace {

// As a communicator carries them: the bits of any type.
std::span<float> floats_of(std::vector<uint32_t>& words) {
  return {static_cast<float*>(static_cast<void*>(words.data())), words.size()};
}

// What each rank has to tell: each number by one rank.
std::vector<int64_t> lengths_of(Communicator& communicator, const std::vector<uint32_t>& words) {
  std::vector<double> lengths(static_cast<size_t>(communicator.size()));
  lengths[static_cast<size_t>(communicator.rank())] = static_cast<double>(words.size());
  communicator.all_reduce_sum(lengths);
  return {lengths.begin(), lengths.end()};
}

}  // namespace

// Each of the ranks that share matrices speaks for its shares.
bool RankPatternLink::speaks(bool for_own_experts) const {
  const MeshPlace& place = communicators_.place();
  const int64_t shares = for_own_experts ? communicators_.mesh().expert : 1;
  return place.data < shares && place.context == 0;
}

std::vector<std::vector<uint32_t>> RankPatternLink::gather(std::vector<uint32_t> words) {
  if (shares() == 1) return {std::move(words)};
  Communicator& tensor = communicators_.tensor();
  const std::vector<int64_t> lengths = lengths_of(tensor, words);
  const auto before = std::accumulate(lengths.begin(), lengths.begin() + share(), int64_t{0});
  std::vector<uint32_t> all(static_cast<size_t>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0})));
  std::ranges::copy(words, all.begin() + before);
  tensor.all_gather(floats_of(all), lengths);
  std::vector<std::vector<uint32_t>> told;
  auto begin = all.begin();
  for (const int64_t length : lengths) {
    told.emplace_back(begin, begin + length);
    begin += length;
  }
  return told;
}

void RankPatternLink::sum(std::span<double> numbers) { communicators_.world().all_reduce_sum(numbers); }

std::vector<uint32_t> RankPatternLink::bring(std::vector<uint32_t> words) {
  Communicator& world = communicators_.world();
  const std::vector<int64_t> lengths = lengths_of(world, words);
  const auto teller = std::ranges::max_element(lengths);
  const int from = static_cast<int>(teller - lengths.begin());
  if (from == 0) return is_writer() ? std::move(words) : std::vector<uint32_t>();
  const bool tells = world.rank() == from;
  std::vector<uint32_t> brought(is_writer() ? static_cast<size_t>(*teller) : 0);
  const Incoming incoming = {from, floats_of(brought)};
  const Outgoing outgoing = {0, floats_of(words)};
  world.start_exchange({.bytes = *teller * static_cast<int64_t>(sizeof(float)), .cargo = Cargo::kPattern},
                       {&incoming, is_writer() ? size_t{1} : size_t{0}},
                       {&outgoing, tells ? size_t{1} : size_t{0}});
  while (!world.exchange_done(0)) world.progress();
  return brought;
}

}  // namespace fern
