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
  void start_exchange(int lane, std::span<const Incoming> incoming,
                      std::span<const Outgoing> outgoing) override;
  bool exchange_done(int lane) override;
  void all_gather(std::span<float> values, std::span<const int64_t> counts) override;
  void gather(std::span<float> whole, std::span<const float> own, std::span<const int64_t> counts) override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  [[noreturn]] void abort(int exit_code) override;

 private:
  // Messages in flight together, apart from all others. Kept, so that a step allocates nothing.
  struct Requests {
    int tag = 0;
    size_t max_message_bytes = 0;
    std::vector<MPI_Request> handles;
  };

  void check(int code, const char* call) const;
  void receive(Requests& requests, std::span<float> values, int from);
  void send(Requests& requests, std::span<const float> values, int to);
  void finish(Requests& requests);

  MPI_Comm comm_ = MPI_COMM_NULL;
  size_t max_message_bytes_;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  Requests gathering_;
  std::vector<size_t> begins_;  // of the blocks being gathered
  std::array<Requests, kExchangeLanes> lanes_;
};

}  // namespace fern
