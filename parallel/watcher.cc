#include "parallel/watcher.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "framework/core/error.h"
#include "parallel/process_view.h"

namespace fern {

namespace {

// A rank that has done nothing for so long is looked at more closely.
constexpr double kSuspicious_s = 0.5;

}  // namespace

Watcher::Watcher(RankRecord& record, double stall_s)
    : record_(record), stall_s_(stall_s), seen_(static_cast<size_t>(record.board().ranks())) {
  for (int rank = 0; rank < record_.board().ranks(); ++rank) {
    const RankSlot& slot = record_.board().slot(rank);
    const auto view = view_process(slot.process);
    seen_[static_cast<size_t>(rank)].process_is_known =
        slot.presence == Presence::kHere && view && view->start == slot.process_start;
  }
  choose_neighbours();
  thread_ = std::jthread([this](const std::stop_token& over) { run(over); });
}

// So that many ranks do not all look at all: those that come next on this machine.
void Watcher::choose_neighbours() {
  const int ranks = record_.board().ranks();
  for (int step = 1, chosen = 0; step < ranks && chosen < kNeighbours; ++step) {
    Seen& seen = seen_[static_cast<size_t>((record_.rank() + step) % ranks)];
    seen.is_neighbour = seen.process_is_known;
    chosen += seen.is_neighbour ? 1 : 0;
  }
}

Watcher::~Watcher() {
  thread_.request_stop();
  thread_.join();
}

void Watcher::run(const std::stop_token& over) {
  std::vector<Sighting> sightings(seen_.size());
  while (true) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, over, kPeriod, [] { return false; });
    if (over.stop_requested()) return;
    if (record_.board().header().reported) end_quietly();
    const double elapsed = elapsed_s();
    for (int rank = 0; rank < record_.board().ranks(); ++rank) look_at(rank, elapsed);
    std::ranges::transform(seen_, sightings.begin(), &Seen::sighting);
    if (const auto verdict = judge(sightings, record_.rank(), stall_s_)) end(*verdict);
  }
}

double Watcher::elapsed_s() {
  const Clock::time_point now = Clock::now();
  const auto passed = std::min<Clock::duration>(now - last_look_, 3 * kPeriod);
  last_look_ = now;
  return std::chrono::duration<double>(passed).count();
}

void Watcher::look_at(int rank, double elapsed_s) {
  const RankSlot& slot = record_.board().slot(rank);
  Seen& seen = seen_[static_cast<size_t>(rank)];
  Sighting& sighting = seen.sighting;
  if (slot.presence == Presence::kElsewhere) return;
  look_at_process(seen, slot, elapsed_s);
  // After the process: one that ends says so first.
  sighting.presence = slot.presence;
  sighting.ended_s = sighting.presence == Presence::kHere ? 0 : sighting.ended_s + elapsed_s;
  sighting.position = slot.pulse.position();
  std::ranges::transform(slot.groups, sighting.groups.begin(),
                         [](const auto& group) { return group.load(); });
  if (sighting.state != 'T') sighting.still_s += elapsed_s;
  if (const uint64_t beats = slot.pulse.beats(); beats != seen.beats) {
    seen.beats = beats;
    sighting.still_s = sighting.still_cpu_s = sighting.stopped_s = 0;
    sighting.state = '?';  // it runs, and is perhaps not looked at again before it has been still
  }
  sighting.waits_in = slot.waits_in.load(std::memory_order_relaxed);
  if (sighting.waits_in != kNotWaiting)
    if (const auto newest = slot.newest[static_cast<size_t>(sighting.waits_in)].load())
      sighting.waits_for = *newest;
  look_for_another_call(rank, elapsed_s);
}

void Watcher::look_at_process(Seen& seen, const RankSlot& slot, double elapsed_s) const {
  Sighting& sighting = seen.sighting;
  if (!seen.process_is_known || !(seen.is_neighbour || sighting.still_s >= kSuspicious_s)) return;
  const auto view = view_process(slot.process);
  sighting.gone = !view || view->start != slot.process_start || view->state == 'Z' || view->state == 'X';
  if (sighting.gone) return;
  sighting.state = view->state;
  sighting.stopped_s = view->state == 'T' ? sighting.stopped_s + elapsed_s : 0;
  if (sighting.still_s <= kSuspicious_s) seen.cpu_then_s = view->cpu_s;
  sighting.still_cpu_s = view->cpu_s - seen.cpu_then_s;
  sighting.traced = view->state == 't' || (sighting.still_s >= kSuspicious_s && is_traced(slot.process));
}

void Watcher::look_for_another_call(int rank, double elapsed_s) {
  Sighting& sighting = seen_[static_cast<size_t>(rank)].sighting;
  if (sighting.other_call) sighting.differs_s += elapsed_s;
  for (int stream = 0; stream < kStreams && !sighting.other_call && rank != record_.rank(); ++stream)
    if (const auto own = record_.differing(rank, stream)) {
      sighting.own_call = *own;
      sighting.other_call = record_.board().slot(rank).newest[static_cast<size_t>(stream)].load();
    }
}

void Watcher::end(const Verdict& verdict) {
  BoardHeader& header = record_.board().header();
  int32_t nobody = 0;
  const auto others_end = std::chrono::milliseconds(300);
  if (header.reporter.compare_exchange_strong(nobody, 1 + record_.rank())) {
    const std::string text = fmt::format(
        "fern: {}. All ranks end with exit code {}; the newest checkpoint is whole, and the same command "
        "goes "
        "on from it\n",
        verdict.text, static_cast<int>(ExitCode::kPeerFailed));
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    header.reported = true;
  }
  std::this_thread::sleep_for(others_end);
  end_quietly();
}

// What the thread that computes holds may be locked for ever, so nothing is cleaned up.
void Watcher::end_quietly() { ::_exit(static_cast<int>(ExitCode::kPeerFailed)); }

}  // namespace fern
