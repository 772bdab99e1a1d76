#include "parallel/checked_communicator.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace fern {

namespace {

// Rounds of progress in which nothing came about, after which a rank counts as waiting. Backward makes a few
// between two operations, and whoever waits makes this many in no time.
constexpr int kPollsOfOneWhoWaits = 100;

// To be ended by the watcher: the call that this rank was about to make is not the others', or the others'
// were not its.
[[noreturn]] void wait_for_the_end() {
  while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
}

}  // namespace

CheckedCommunicator::CheckedCommunicator(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}

CheckedCommunicator::CheckedCommunicator(std::unique_ptr<Communicator> inner, Axis axis, RankRecord* record)
    : inner_(std::move(inner)), axis_(axis), record_(record) {}

CheckedCommunicator::~CheckedCommunicator() {
  if (own_record_)
    own_record_->leave(std::uncaught_exceptions() > exceptions_ ? Presence::kFailed : Presence::kLeft);
}

Pulse* CheckedCommunicator::watch(double stall_s) {
  if (stall_s <= 0 || size() == 1) return nullptr;
  own_record_.emplace(Board(inner_->share_memory(Board::bytes(size())), size()), rank());
  record_ = &*own_record_;
  inner_->barrier();
  watcher_.emplace(*record_, stall_s);
  return &record_->pulse();
}

std::unique_ptr<Communicator> CheckedCommunicator::group(Axis axis, int group, int order) {
  std::unique_ptr<Communicator> members = inner_->group(axis, group, order);
  if (!members) return nullptr;
  if (record_ != nullptr) record_->join(axis, group);
  return std::make_unique<CheckedCommunicator>(std::move(members), axis, record_);
}

void CheckedCommunicator::show(const Fingerprint& fingerprint) {
  record_->begin(fingerprint);
  for (int other = 0; other < record_->board().ranks(); ++other)
    if (other != record_->rank() && record_->differing(other, fingerprint.stream)) wait_for_the_end();
}

template <typename Call>
void CheckedCommunicator::blocking(CollectiveKind kind, int64_t bytes, const Call& call) {
  if (record_ == nullptr) return call();
  record_->wait_in(blocking_stream(axis_));
  show({.bytes = bytes, .stream = blocking_stream(axis_), .kind = kind});
  call();
  record_->go_on();
}

void CheckedCommunicator::barrier() {
  blocking(CollectiveKind::kBarrier, 0, [&] { inner_->barrier(); });
}

void CheckedCommunicator::all_reduce_sum(std::span<double> values) {
  blocking(CollectiveKind::kSum, static_cast<int64_t>(values.size_bytes()),
           [&] { inner_->all_reduce_sum(values); });
}

void CheckedCommunicator::all_gather(std::span<float> values, std::span<const int64_t> counts) {
  blocking(CollectiveKind::kAllGather, static_cast<int64_t>(values.size_bytes()),
           [&] { inner_->all_gather(values, counts); });
}

void CheckedCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  blocking(CollectiveKind::kBroadcast, static_cast<int64_t>(bytes.size()),
           [&] { inner_->broadcast(bytes, root); });
}

void CheckedCommunicator::start_exchange(const Exchange& exchange, std::span<const Incoming> incoming,
                                         std::span<const Outgoing> outgoing) {
  if (record_ != nullptr) {
    show({.bytes = exchange.bytes,
          .stream = stream_of_lane(exchange.lane, axis_),
          .index = exchange.index,
          .first_layer = exchange.first_layer,
          .last_layer = exchange.last_layer,
          .kind = CollectiveKind::kExchange,
          .cargo = exchange.cargo});
    record_->go_on();
    in_flight_ |= 1u << exchange.lane;
  }
  inner_->start_exchange(exchange, incoming, outgoing);
}

void CheckedCommunicator::progress() {
  inner_->progress();
  if (record_ != nullptr && in_flight_ != 0) note_lanes();
}

// A rank waits for its exchanges when it does nothing but ask for them.
void CheckedCommunicator::note_lanes() {
  uint32_t in_flight = 0;
  for (int lane = 0; lane < kExchangeLanes; ++lane)
    if ((in_flight_ >> lane & 1) != 0 && !inner_->exchange_done(lane)) in_flight |= 1u << lane;
  const uint64_t beats = record_->pulse().beats();
  if (in_flight != in_flight_ || beats != polled_at_) {
    if (in_flight != in_flight_) record_->go_on();
    in_flight_ = in_flight;
    polled_at_ = record_->pulse().beats();
    polls_ = 0;
  } else if (++polls_ == kPollsOfOneWhoWaits) {
    record_->wait_in(stream_of_lane(std::countr_zero(in_flight), axis_));
  }
}

void CheckedCommunicator::abort(int exit_code) {
  if (record_ != nullptr) record_->leave(Presence::kFailed);
  inner_->abort(exit_code);
  std::_Exit(exit_code);
}

}  // namespace fern
