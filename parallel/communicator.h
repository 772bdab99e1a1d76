// Many processes: who am I, and the few exchanges Fern makes. Solo and MPI implementations; NCCL joins here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace fern {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void barrier() = 0;
  // Element-wise sum over ranks, in place, on all ranks.
  virtual void all_reduce_sum(std::span<double> values) = 0;
  // Block r of `send` goes to rank r; block r of `receive` came from rank r. Counts in floats per rank.
  virtual void all_to_all(std::span<float> receive, std::span<const int> receive_counts,
                          std::span<const float> send, std::span<const int> send_counts) = 0;
  // Every rank's block, in rank order, on all ranks. In place: rank r's own block is already in `values`.
  virtual void all_gather(std::span<float> values, std::span<const int> counts) = 0;
  // Every rank's block, in rank order, on rank 0 (`whole` is empty elsewhere).
  virtual void gather(std::span<float> whole, std::span<const float> own, std::span<const int> counts) = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  // Ends every rank of the job with this exit code. Does not return.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

// One process, no MPI call: every exchange is the identity.
std::unique_ptr<Communicator> make_solo_communicator();

// Under mpirun or srun (their environment says so) the MPI world, else solo. MPI is initialised once per
// process and finalised when the communicator goes.
std::unique_ptr<Communicator> make_communicator(int* argc, char*** argv);

}  // namespace fern
