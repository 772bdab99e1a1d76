#include "parallel/rank_record.h"

#include "parallel/process_view.h"

namespace fern {

RankRecord::RankRecord(Board board, int rank) : board_(board), rank_(rank) {
  RankSlot& slot = board_.slot(rank);
  const ProcessView own = own_process();
  slot.process.store(own.id);
  slot.process_start.store(own.start);
  slot.waits_in.store(kNotWaiting);
  slot.pulse.enter(Activity::kOutside);
  join(Axis::kWorld, 0);
  slot.presence.store(Presence::kHere);
}

void RankRecord::begin(Fingerprint next) {
  Stream& stream = streams_[static_cast<size_t>(next.stream)];
  next.sequence = stream.newest.sequence + 1;
  next.where = pulse().position();
  next.chain = chained(stream.newest.chain, next);
  stream.newest = next;
  stream.history[next.sequence % kRemembered].store(next);
  board_.slot(rank_).newest[static_cast<size_t>(next.stream)].store(next);
  pulse().beat();
}

void RankRecord::go_on() {
  wait_in(kNotWaiting);
  pulse().beat();
}

// Whoever comes to a collective later sees the other's call of it, or a later one whose chain it will be held
// to when it comes there itself.
std::optional<Fingerprint> RankRecord::differing(int rank, int stream) const {
  const auto at = static_cast<size_t>(stream);
  if (!board_.share_group(rank_, rank, axis_of(stream))) return std::nullopt;
  const auto theirs = board_.slot(rank).newest[at].load();
  if (!theirs || theirs->sequence == 0) return std::nullopt;
  const auto ours = streams_[at].history[theirs->sequence % kRemembered].load();
  if (!ours || ours->sequence != theirs->sequence || ours->chain == theirs->chain) return std::nullopt;
  return ours;
}

}  // namespace fern
