#include "parallel/rank_pattern_link.h"

#include <algorithm>

#include "framework/core/error.h"

namespace fern {

namespace {

// As a communicator carries them: the bits of any type.
std::span<float> floats_of(std::vector<uint32_t>& words) {
  return {static_cast<float*>(static_cast<void*>(words.data())), words.size()};
}

}  // namespace

bool RankPatternLink::speaks(bool for_own_experts) const {
  const MeshPlace& place = communicators_.place();
  const int64_t shares = for_own_experts ? communicators_.mesh().expert : 1;
  return place.data < shares && place.tensor == 0 && place.context == 0;
}

void RankPatternLink::sum(std::span<double> numbers) { communicators_.world().all_reduce_sum(numbers); }

std::vector<uint32_t> RankPatternLink::bring(std::vector<uint32_t> words) {
  Communicator& world = communicators_.world();
  // Who tells, and how much: each number by one rank.
  std::vector<double> lengths(static_cast<size_t>(world.size()));
  lengths[static_cast<size_t>(world.rank())] = static_cast<double>(words.size());
  world.all_reduce_sum(lengths);
  const auto teller = std::ranges::max_element(lengths);
  const int from = static_cast<int>(teller - lengths.begin());
  if (from == 0) return is_writer() ? std::move(words) : std::vector<uint32_t>();
  const bool tells = world.rank() == from;
  std::vector<uint32_t> brought(is_writer() ? static_cast<size_t>(*teller) : 0);
  const Incoming incoming = {from, floats_of(brought)};
  const Outgoing outgoing = {0, floats_of(words)};
  world.start_exchange({.bytes = static_cast<int64_t>(*teller) * static_cast<int64_t>(sizeof(float)),
                        .cargo = Cargo::kPattern},
                       {&incoming, is_writer() ? size_t{1} : size_t{0}},
                       {&outgoing, tells ? size_t{1} : size_t{0}});
  while (!world.exchange_done(0)) world.progress();
  return brought;
}

}  // namespace fern
