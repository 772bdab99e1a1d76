#include "parallel/data_reducer.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "framework/core/error.h"
#include "parallel/bucket_layers.h"

namespace fern {

namespace {

// Rounds of progress a reported gradient: one moves about a megabyte through shared memory.
constexpr int kRoundsPerGradient = 8;

// The shards that a rank sums by itself before it exchanges anything: one, where they are dealt.
ShardSum sum_of(const Tensor& gradients, const ReductionPlan& plan, Arena& arena) {
  if (plan.deals) return {gradients, 0, 1, 1, arena};
  return {gradients, plan.shard(0), plan.shard(0) + plan.share(), plan.shards, arena};
}

template <typename T>
std::span<T> part(std::span<T> whole, Slice slice) {
  return whole.subspan(static_cast<size_t>(slice.begin), static_cast<size_t>(slice.elements()));
}

}  // namespace

// Each starts with its neighbour, so that not all send to the same rank at once.
template <typename Work>
void DataReducer::for_each_neighbour(const Work& work) const {
  for (int step = 1; step < plan_.ranks; ++step) work((plan_.rank + step) % plan_.ranks);
}

DataReducer::DataReducer(const Region& region, ReductionPlan plan, Communicator& communicator, Arena& arena)
    : communicator_(communicator),
      sum_(sum_of(region.gradients, plan, arena)),
      tail_(region.list),
      begin_(region.begin),
      values_(region.values),
      gradients_(region.gradients) {
  set_plan(std::move(plan));
  for (Lane& lane : lanes_)
    lane.arrivals = arena.allocate(DType::kF32, {plan_.foreign_nodes(), plan_.longest_part()});
  waiting_ = arena.allocate(DType::kF32, {plan_.most_waiting(), plan_.all_parts()});
}

DataReducer::DataReducer(const Parameters& parameters, ReductionPlan plan, Communicator& communicator,
                         Arena& arena)
    : DataReducer(whole_region(parameters), std::move(plan), communicator, arena) {}

void DataReducer::set_plan(ReductionPlan plan) {
  plan_ = std::move(plan);
  started_ = done_ = plan_.buckets;  // nothing is to be exchanged before begin_shard()
  counts_.clear();
  for (const Slice& slice : plan_.slices) counts_.push_back(slice.elements());
  parts_begin_.assign(1, 0);
  for (int64_t i = 0; i < plan_.buckets; ++i)
    parts_begin_.push_back(parts_begin_.back() + plan_.part_of(plan_.rank, i).elements());
}

Slices DataReducer::slices_of(const Parameters& parameters) const {
  return kept_of(parameters.padded_elements());
}

Slice DataReducer::kept_of(int64_t elements) const { return resized(plan_, elements).kept_by(plan_.rank); }

void DataReducer::set_region(const Region& region) {
  set_plan(resized(plan_, region.elements()));
  for (const Lane& lane : lanes_)
    expect(plan_.foreign_nodes() * plan_.longest_part() <= lane.arrivals.elements(),
           "[reducer] expected room for {} arrivals, got {}", plan_.foreign_nodes() * plan_.longest_part(),
           lane.arrivals.elements());
  expect(plan_.most_waiting() * plan_.all_parts() <= waiting_.elements(),
         "[reducer] expected room for {} sums that wait, got {}", plan_.most_waiting() * plan_.all_parts(),
         waiting_.elements());
  sum_.set_gradients(region.gradients);
  begin_ = region.begin;
  values_ = region.values;
  gradients_ = region.gradients;
}

void DataReducer::begin_shard() {
  expect(done_ == started_, "[reducer] expected finish() before the next step, {} exchanges are under way",
         started_ - done_);
  if (round_ == plan_.rounds.size()) round_ = 0;
  completing_ = false;
  started_ = done_ = 0;
  tail_.restart();
  sum_.begin_shard(plan_.deals);
}

void DataReducer::add(const Parameter& parameter) {
  if (!completing_) return;
  tail_.add(parameter);
  for (int round = 0; round < kRoundsPerGradient; ++round) progress();
  while (plan_.deals && has_complete_bucket()) wait();
}

void DataReducer::end_shard() {
  sum_.end_shard();
  if (plan_.deals) finish_round();
}

void DataReducer::finish() {
  if (!plan_.deals) finish_round();
  expect(round_ == plan_.rounds.size(), "[reducer] expected {} shards before finish(), got {}",
         plan_.rounds.size(), round_);
}

void DataReducer::finish_round() {
  sum_.expect_complete();
  tail_.complete();
  while (done_ < plan_.buckets) wait();
  ++round_;
}

// Where ranks are more than the cores, another needs this one.
void DataReducer::wait() {
  progress();
  std::this_thread::yield();
}

bool DataReducer::has_complete_bucket() const {
  return started_ < plan_.buckets && plan_.bucket_of(started_).begin >= tail_.begin();
}

void DataReducer::progress() {
  while (has_complete_bucket() && lane_of(started_).phase == Phase::kIdle) collect(started_++);
  communicator_.progress();
  for (const Lane& lane : lanes_)
    if (lane.phase != Phase::kIdle && communicator_.exchange_done(number_of(lane.bucket)))
      advance(lane.bucket);
}

void DataReducer::append_waiting(std::vector<float*>& to, int64_t bucket, size_t nodes) const {
  for (size_t node = 0; node < nodes; ++node)
    to.push_back(waiting_.as<float>() + static_cast<int64_t>(node) * parts_begin_.back() +
                 parts_begin_[static_cast<size_t>(bucket)]);
}

void DataReducer::collect(int64_t bucket) {
  sum_.take_from(plan_.bucket_of(bucket).begin);
  Lane& lane = lane_of(bucket);
  lane.phase = Phase::kCollecting;
  lane.bucket = bucket;
  lane.sources.clear();
  if (round_ > 0) append_waiting(lane.sources, bucket, plan_.rounds[round_ - 1].nodes.size());
  const Slice own = plan_.part_of(plan_.rank, bucket);
  float* arrival = lane.arrivals.as<float>();
  for (int rank = 0; rank < plan_.ranks; ++rank)
    for (size_t node = 0; node < plan_.nodes[static_cast<size_t>(rank)].size(); ++node) {
      if (rank == plan_.rank) {
        lane.sources.push_back(sum_.values(node).data() + own.begin);
        continue;
      }
      lane.sources.push_back(arrival);
      incoming_.push_back({rank, {arrival, static_cast<size_t>(own.elements())}});
      arrival += own.elements();
    }
  for_each_neighbour([&](int rank) {
    for (size_t node = 0; node < sum_.nodes().size(); ++node)
      outgoing_.push_back({rank, part(sum_.values(node), plan_.part_of(rank, bucket))});
  });
  start_exchange(bucket);
}

void DataReducer::advance(int64_t bucket) {
  Lane& lane = lane_of(bucket);
  if (lane.phase == Phase::kCollecting) {
    sum(lane);
    if (in_last_round()) return deliver(bucket);
  }
  release_bucket(bucket, in_last_round() ? kept() : Slice{});
  lane.phase = Phase::kIdle;
  ++done_;
}

void DataReducer::sum(Lane& lane) {
  const JoinedNodes& round = plan_.rounds[round_];
  const Slice own = plan_.part_of(plan_.rank, lane.bucket);
  lane.sums.clear();
  if (in_last_round())
    lane.sums.push_back(gradients_.as<float>() + own.begin);
  else
    append_waiting(lane.sums, lane.bucket, round.nodes.size());
  sum_nodes(lane.sums, lane.sources, own.elements(), round);
}

void DataReducer::deliver(int64_t bucket) {
  lane_of(bucket).phase = Phase::kDelivering;
  const auto gradients = gradients_.values<float>();
  const Slice own = plan_.part_of(plan_.rank, bucket);
  release_bucket(bucket, own);
  for_each_neighbour([&](int rank) {
    incoming_.push_back({rank, part(gradients, intersection(plan_.part_of(rank, bucket), kept()))});
    outgoing_.push_back({rank, part(gradients, intersection(own, plan_.kept_by(rank)))});
  });
  start_exchange(bucket);
}

void DataReducer::release_bucket(int64_t bucket, Slice kept) {
  if (!plan_.deals) return;
  const Slice whole = plan_.bucket_of(bucket), stays = intersection(whole, kept);
  if (stays.elements() == 0) return release(gradients_, whole.begin, whole.end);
  release(gradients_, whole.begin, stays.begin);
  release(gradients_, stays.end, whole.end);
}

Exchange DataReducer::exchange_of(int64_t bucket) const {
  const Slice whole = plan_.bucket_of(bucket);
  const LayerRange layers = layers_in({begin_ + whole.begin, begin_ + whole.end}, tail_.list());
  return {.lane = number_of(bucket),
          .bytes = whole.elements() * static_cast<int64_t>(sizeof(float)),
          .index = static_cast<int32_t>(bucket),
          .first_layer = layers.first,
          .last_layer = layers.last};
}

void DataReducer::start_exchange(int64_t bucket) {
  for (const Outgoing& message : outgoing_) sent_bytes_ += static_cast<int64_t>(message.values.size_bytes());
  communicator_.start_exchange(exchange_of(bucket), incoming_, outgoing_);
  incoming_.clear();
  outgoing_.clear();
}

void DataReducer::gather_values() {
  if (!plan_.sliced || plan_.fetches) return;
  sent_bytes_ += (plan_.ranks - 1) * plan_.slice().elements() * static_cast<int64_t>(sizeof(float));
  communicator_.all_gather(values_.values<float>(), counts_);
}

void DataReducer::gather_everywhere(std::span<float> whole, std::span<const float> slices) {
  if (!plan_.sliced) {
    std::ranges::copy(slices, whole.begin());
    return;
  }
  std::ranges::copy(slices, whole.begin() + plan_.slice().begin);
  communicator_.all_gather(whole, counts_);
}

}  // namespace fern
