// Any communicator, with each collective shown on the board of the machine, so that a rank that stops or goes
// astray is found and named. Until watch() it only passes on.
#pragma once

#include <exception>
#include <memory>
#include <optional>

#include "parallel/rank_record.h"
#include "parallel/watcher.h"

namespace fern {

class CheckedCommunicator final : public Communicator {
 public:
  explicit CheckedCommunicator(std::unique_ptr<Communicator> inner);
  // A group of a checked one, which shows its collectives on `record`, if there is any.
  CheckedCommunicator(std::unique_ptr<Communicator> inner, Axis axis, RankRecord* record);
  ~CheckedCommunicator() override;

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  int local_rank() const override { return inner_->local_rank(); }
  int local_size() const override { return inner_->local_size(); }
  void barrier() override;
  void all_reduce_sum(std::span<double> values) override;
  void start_exchange(const Exchange& exchange, std::span<const Incoming> incoming,
                      std::span<const Outgoing> outgoing) override;
  void progress() override;
  bool exchange_done(int lane) const override { return inner_->exchange_done(lane); }
  void all_gather(std::span<float> values, std::span<const int64_t> counts) override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  std::span<std::byte> share_memory(size_t bytes) override { return inner_->share_memory(bytes); }
  std::unique_ptr<Communicator> group(Axis axis, int group, int order) override;
  Pulse* watch(double stall_s) override;
  [[noreturn]] void abort(int exit_code) override;

 private:
  // Shows the call, and makes it unless another rank has made another.
  template <typename Call>
  void blocking(CollectiveKind kind, int64_t bytes, const Call& call);
  void show(const Fingerprint& fingerprint);
  void note_lanes();

  const std::unique_ptr<Communicator> inner_;
  const Axis axis_ = Axis::kWorld;
  const int exceptions_ = std::uncaught_exceptions();
  std::optional<RankRecord> own_record_;  // of the world, while watched
  RankRecord* record_ = nullptr;          // this one's, or the world's
  std::optional<Watcher> watcher_;
  uint32_t in_flight_ = 0;  // a bit a lane
  uint64_t polled_at_ = 0;  // beats
  int polls_ = 0;           // since then
};

}  // namespace fern
