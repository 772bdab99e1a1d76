// The communicator over MPI. Only parallel/ and its tests include this.
#pragma once

#include <mpi.h>

#include <array>
#include <cstdint>
#include <vector>

#include "parallel/communicator.h"

namespace fern {

// One MPI call's count is an int: longer messages go as several of at most this many bytes.
inline constexpr size_t kMaxMessage_bytes = size_t{1} << 30;

class MpiCommunicator : public Communicator {
 public:
  // Works on a copy of `world`, with its own message space. REQUIRES: MPI initialised, max_message_bytes a
  // multiple of 8.
  explicit MpiCommunicator(MPI_Comm world, size_t max_message_bytes = kMaxMessage_bytes);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  void barrier() override;
  void all_reduce_sum(std::span<double> values) override;
  void start_exchange(const Exchange& exchange, std::span<const Incoming> incoming,
                      std::span<const Outgoing> outgoing) override;
  void progress() override;
  bool exchange_done(int lane) const override { return in_flight_[static_cast<size_t>(lane)] == 0; }
  void all_gather(std::span<float> values, std::span<const int64_t> counts) override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  std::span<std::byte> share_memory(size_t bytes) override;
  std::unique_ptr<Communicator> group(Axis axis, int group, int order) override;
  Pulse* watch(double) override { return nullptr; }
  [[noreturn]] void abort(int exit_code) override;

 private:
  using Requests = std::vector<MPI_Request>;  // kept, so that a step allocates nothing

  void check(int code, const char* call) const;
  size_t max_message_bytes(int tag) const;
  void receive(Requests& requests, std::span<float> values, int from, int tag);
  void send(Requests& requests, std::span<const float> values, int to, int tag);
  void finish(Requests& requests);
  // Of one that progress() found done. Errors (kPeerFailed): more or fewer values came than are expected.
  void expect_whole(const MPI_Status& status, int expected, int lane) const;

  MPI_Comm comm_ = MPI_COMM_NULL, machine_ = MPI_COMM_NULL;
  MPI_Win shared_ = MPI_WIN_NULL;
  size_t max_message_bytes_;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  Requests gathering_;
  std::vector<size_t> begins_;                      // of the blocks being gathered
  Requests exchanging_;                             // of all lanes
  std::vector<int> lanes_;                          // the lane of each
  std::vector<int> expected_;                       // values each is to receive; -1: it sends
  std::vector<int> completed_;                      // those that the last progress() found done
  std::vector<MPI_Status> statuses_;                // of them
  std::array<size_t, kExchangeLanes> in_flight_{};  // by lane
};

}  // namespace fern
