// Many processes: who am I, and the few exchanges Fern makes. Solo and MPI implementations; NCCL joins here.
// Every collective, and every exchange of a lane, is called by all ranks in the same order; errors name the
// call and the rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "framework/core/pulse.h"

namespace fern {

// One message of an exchange.
struct Incoming {
  int rank = 0;  // from
  std::span<float> values;
};
struct Outgoing {
  int rank = 0;  // to
  std::span<const float> values;
};

// Exchanges that may be in flight at a time, one a lane. The last is for values that are fetched.
inline constexpr int kExchangeLanes = 9;
inline constexpr int kValuesLane = kExchangeLanes - 1;

// Who exchanges with whom: all ranks, or those of one group of an axis of the mesh. A link joins two stages
// of a pipeline: after an even stage, after an odd one, or from the last to the first. Data ranks are also in
// groups of those that share experts, and of those that hold the same.
enum class Axis : uint8_t {
  kWorld,
  kData,
  kTensor,
  kContext,
  kEvenLink,
  kOddLink,
  kWrapLink,
  kExpert,
  kReplica
};
inline constexpr int kAxes = 9;

// What an exchange carries.
enum class Cargo : uint8_t {
  kGradients,            // a bucket of them
  kActivations,          // of a micro-batch in one part, from one stage to the next
  kActivationGradients,  // of a micro-batch in one part, back
  kEmbedding,            // the values of a tied embedding
  kValues,               // of a layer, from the ranks that keep them
  kTensor,               // of a checkpoint
  kPattern,              // which weights of one matrix exist
  kSummands,             // a piece of a tensor that the ranks of the tensor axis add up
  kKeysValues,           // of the positions that a rank of the context axis holds
  kKeysValuesGradients,  // what ranks have added of these up to here
  kRows,                 // of tokens, to the experts they go to
  kRowsBack,             // of experts, to the tokens they came from
};

// What ranks exchange: the same on all of them. Beside the lane it is for messages when it does not come
// about.
struct Exchange {
  int lane = 0;
  int64_t bytes = 0;   // of the whole that ranks exchange parts of
  int32_t index = -1;  // which bucket, pass, tensor or first parameter; -1: there is but one
  Cargo cargo = Cargo::kGradients;
  int32_t first_layer = -1, last_layer = -1;  // whose gradients it holds; -1: of no layer
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Among the ranks that share this machine's memory.
  virtual int local_rank() const = 0;
  virtual int local_size() const = 0;
  virtual void barrier() = 0;
  // Element-wise sum over ranks, in place, on all ranks.
  virtual void all_reduce_sum(std::span<double> values) = 0;
  // Starts sending and receiving between pairs of ranks. What one rank sends another on a lane meets what the
  // other expects of it there, in the order listed, and must be as long; empty messages are not sent. None
  // goes to the own rank. The values are borrowed until the exchange is done. Lanes do not wait for each
  // other. Errors: the lane's exchange before is not done.
  virtual void start_exchange(const Exchange& exchange, std::span<const Incoming> incoming,
                              std::span<const Outgoing> outgoing) = 0;
  // Moves what is in flight, without waiting.
  virtual void progress() = 0;
  // Whether the lane's exchange was done at the last progress(); true when none was started.
  virtual bool exchange_done(int lane) const = 0;
  // Every rank's block, in rank order, on all ranks. In place: rank r's own block is already in `values`,
  // which has as many elements as the counts add up to.
  virtual void all_gather(std::span<float> values, std::span<const int64_t> counts) = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  // Zeroed memory that the ranks of this machine share, for as long as the communicator lives. All call it,
  // once.
  virtual std::span<std::byte> share_memory(size_t bytes) = 0;
  // A communicator of the ranks that give the same group, 0 or more, by `order` and, where that is equal, in
  // the order of their ranks here; or null with group -1. All ranks call it, for one axis after the other,
  // after watch(); an axis but once. It must not outlive this one.
  virtual std::unique_ptr<Communicator> group(Axis axis, int group, int order = 0) = 0;
  // From now on ends the job with exit code 4, naming who is at fault, when a rank stops, dies, gets nowhere
  // for `stall_s` or makes another call than the others (watcher.h). All call it, once. Returns where this
  // rank is to say how far it has come; null: nobody watches.
  virtual Pulse* watch(double stall_s) = 0;
  // Ends every rank of the job with this exit code, after flushing what this one has printed. Does not
  // return.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

// One process, no MPI call: every exchange is the identity.
std::unique_ptr<Communicator> make_solo_communicator();

// Under mpirun or srun (their environment says so) the MPI world, else solo. MPI is initialised once per
// process and finalised when the communicator goes; when it goes because an error unwinds past it, MPI is not
// finalised, so that the launcher ends the other ranks rather than have them wait.
// Errors (kBadUsage): the launcher started several processes, but they do not find each other.
std::unique_ptr<Communicator> make_communicator(int* argc, char*** argv);

}  // namespace fern
