#include "parallel/mpi_communicator.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "framework/core/error.h"
#include "parallel/checked_communicator.h"
#include "parallel/launch_environment.h"

namespace fern {

namespace {

constexpr int kCollectiveTag = 0;
constexpr int kFirstLaneTag = 1;
// Exchanges move only while some call tests them, and a library may push just a few fragments of each message
// a test: a message no longer than those moves in few tests, however long the computing between them.
constexpr size_t kMaxExchangeMessage_bytes = size_t{96} << 10;

// Calls work(part) for parts of at most `max_bytes`.
template <typename T, typename Work>
void for_each_part(std::span<T> values, size_t max_bytes, const Work& work) {
  const size_t most = max_bytes / sizeof(T);
  for (size_t begin = 0; begin < values.size(); begin += most)
    work(values.subspan(begin, std::min(most, values.size() - begin)));
}

// The process's one use of MPI: initialised here, finalised when it goes.
class MpiWorld {
 public:
  MpiWorld(int* argc, char*** argv) : exceptions_(std::uncaught_exceptions()) {
    int initialized = 0;
    MPI_Initialized(&initialized);
    expect(initialized == 0, "[mpi] expected one communicator a process, got a second");
    int provided = MPI_THREAD_SINGLE;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    expect(provided >= MPI_THREAD_FUNNELED,
           "[mpi] expected an MPI library that allows threads beside it, got level {}", provided);
  }
  ~MpiWorld() {
    if (std::uncaught_exceptions() == exceptions_) MPI_Finalize();
  }
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

 private:
  int exceptions_;
};

// The world, and the communicator over it.
class WorldCommunicator final : private MpiWorld, public MpiCommunicator {
 public:
  WorldCommunicator(int* argc, char*** argv) : MpiWorld(argc, argv), MpiCommunicator(MPI_COMM_WORLD) {}
};

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm world, size_t max_message_bytes)
    : max_message_bytes_(max_message_bytes) {
  check(MPI_Comm_dup(world, &comm_), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
  check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &machine_),
        "MPI_Comm_split_type");
  MPI_Comm_rank(machine_, &local_rank_);
  MPI_Comm_size(machine_, &local_size_);
}

MpiCommunicator::~MpiCommunicator() {
  if (std::uncaught_exceptions() > 0) return;
  if (shared_ != MPI_WIN_NULL) MPI_Win_free(&shared_);
  MPI_Comm_free(&machine_);
  MPI_Comm_free(&comm_);
}

void MpiCommunicator::check(int code, const char* call) const {
  if (code == MPI_SUCCESS) [[likely]]
    return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ExitCode::kPeerFailed,
              fmt::format("[mpi] {} failed on rank {} of {}: {}", call, rank_, size_, text));
}

void MpiCommunicator::barrier() { check(MPI_Barrier(comm_), "MPI_Barrier"); }

void MpiCommunicator::all_reduce_sum(std::span<double> values) {
  for_each_part(values, max_message_bytes_, [&](std::span<double> part) {
    check(MPI_Allreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()), MPI_DOUBLE, MPI_SUM, comm_),
          "MPI_Allreduce");
  });
}

size_t MpiCommunicator::max_message_bytes(int tag) const {
  return tag < kFirstLaneTag ? max_message_bytes_ : std::min(max_message_bytes_, kMaxExchangeMessage_bytes);
}

void MpiCommunicator::receive(Requests& requests, std::span<float> values, int from, int tag) {
  for_each_part(values, max_message_bytes(tag), [&](std::span<float> part) {
    check(MPI_Irecv(part.data(), static_cast<int>(part.size()), MPI_FLOAT, from, tag, comm_,
                    &requests.emplace_back()),
          "MPI_Irecv");
  });
}

void MpiCommunicator::send(Requests& requests, std::span<const float> values, int to, int tag) {
  for_each_part(values, max_message_bytes(tag), [&](std::span<const float> part) {
    check(MPI_Isend(part.data(), static_cast<int>(part.size()), MPI_FLOAT, to, tag, comm_,
                    &requests.emplace_back()),
          "MPI_Isend");
  });
}

void MpiCommunicator::finish(Requests& requests) {
  check(MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
  requests.clear();
}

void MpiCommunicator::start_exchange(const Exchange& exchange, std::span<const Incoming> incoming,
                                     std::span<const Outgoing> outgoing) {
  const int lane = exchange.lane;
  expect(exchange_done(lane), "[mpi] expected one exchange at a time on lane {}, got another", lane);
  const size_t before = exchanging_.size();
  for (const Incoming& message : incoming) {
    receive(exchanging_, message.values, message.rank, kFirstLaneTag + lane);
    for_each_part(message.values, max_message_bytes(kFirstLaneTag + lane),
                  [&](std::span<float> part) { expected_.push_back(static_cast<int>(part.size())); });
  }
  for (const Outgoing& message : outgoing)
    send(exchanging_, message.values, message.rank, kFirstLaneTag + lane);
  expected_.resize(exchanging_.size(), -1);
  lanes_.resize(exchanging_.size(), lane);
  in_flight_[static_cast<size_t>(lane)] = exchanging_.size() - before;
}

void MpiCommunicator::progress() {
  if (exchanging_.empty()) return;
  completed_.resize(exchanging_.size());
  statuses_.resize(exchanging_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(exchanging_.size()), exchanging_.data(), &count,
                                completed_.data(), statuses_.data());
  if (code != MPI_ERR_IN_STATUS) check(code, "MPI_Testsome");
  if (count <= 0) return;
  for (size_t k = 0; k < static_cast<size_t>(count); ++k) {
    const auto i = static_cast<size_t>(completed_[k]);
    if (code == MPI_ERR_IN_STATUS && statuses_[k].MPI_ERROR != MPI_ERR_TRUNCATE)
      check(statuses_[k].MPI_ERROR, "MPI_Testsome");
    if (expected_[i] >= 0) expect_whole(statuses_[k], expected_[i], lanes_[i]);
    --in_flight_[static_cast<size_t>(lanes_[i])];
  }
  size_t kept = 0;
  for (size_t i = 0; i < exchanging_.size(); ++i) {
    if (exchanging_[i] == MPI_REQUEST_NULL) continue;
    exchanging_[kept] = exchanging_[i];
    expected_[kept] = expected_[i];
    lanes_[kept++] = lanes_[i];
  }
  exchanging_.resize(kept);
  lanes_.resize(kept);
  expected_.resize(kept);
}

void MpiCommunicator::expect_whole(const MPI_Status& status, int expected, int lane) const {
  int count = 0;
  MPI_Get_count(&status, MPI_FLOAT, &count);
  const bool cut_short = status.MPI_ERROR == MPI_ERR_TRUNCATE;
  if (!cut_short && count == expected) [[likely]]
    return;
  throw Error(ExitCode::kPeerFailed,
              fmt::format("[mpi] exchange on lane {}: rank {} sent {} values, where rank {} expects {}", lane,
                          status.MPI_SOURCE, cut_short ? "more" : std::to_string(count), rank_, expected));
}

void MpiCommunicator::all_gather(std::span<float> values, std::span<const int64_t> counts) {
  const auto ranks = static_cast<size_t>(size_);
  const auto own = static_cast<size_t>(rank_);
  std::vector<size_t>& begins = begins_;
  begins.assign(1, 0);
  for (int64_t count : counts) begins.push_back(begins.back() + static_cast<size_t>(count));
  expect(counts.size() == ranks && begins.back() == values.size(),
         "[mpi] all_gather: expected {} blocks of {} values in all, got {} of {}", size_, values.size(),
         counts.size(), begins.back());
  const auto block = [&](size_t rank) {
    return values.subspan(begins[rank], static_cast<size_t>(counts[rank]));
  };
  // Each starts with its neighbour, so that not all send to the same rank at once.
  for (size_t step = 1; step < ranks; ++step) {
    const size_t from = (own + ranks - step) % ranks;
    const size_t to = (own + step) % ranks;
    receive(gathering_, block(from), static_cast<int>(from), kCollectiveTag);
    send(gathering_, block(own), static_cast<int>(to), kCollectiveTag);
  }
  finish(gathering_);
}

void MpiCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  for_each_part(bytes, max_message_bytes_, [&](std::span<std::byte> part) {
    check(MPI_Bcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, comm_), "MPI_Bcast");
  });
}

std::span<std::byte> MpiCommunicator::share_memory(size_t bytes) {
  expect(shared_ == MPI_WIN_NULL, "[mpi] expected one call of share_memory, got a second");
  void* memory = nullptr;
  const auto own_bytes = static_cast<MPI_Aint>(local_rank_ == 0 ? bytes : 0);
  check(MPI_Win_allocate_shared(own_bytes, 1, MPI_INFO_NULL, machine_, &memory, &shared_),
        "MPI_Win_allocate_shared");
  MPI_Aint size = 0;
  int unit = 0;
  check(MPI_Win_shared_query(shared_, 0, &size, &unit, &memory), "MPI_Win_shared_query");
  if (local_rank_ == 0) std::memset(memory, 0, bytes);
  check(MPI_Barrier(machine_), "MPI_Barrier");
  return {static_cast<std::byte*>(memory), bytes};
}

std::unique_ptr<Communicator> MpiCommunicator::group(Axis, int group, int order) {
  MPI_Comm members = MPI_COMM_NULL;
  check(MPI_Comm_split(comm_, group < 0 ? MPI_UNDEFINED : group, order, &members), "MPI_Comm_split");
  if (members == MPI_COMM_NULL) return nullptr;
  auto communicator = std::make_unique<MpiCommunicator>(members, max_message_bytes_);
  check(MPI_Comm_free(&members), "MPI_Comm_free");
  return communicator;
}

void MpiCommunicator::abort(int exit_code) {
  std::fflush(nullptr);
  MPI_Abort(comm_, exit_code);
  std::_Exit(exit_code);
}

std::unique_ptr<Communicator> make_communicator(int* argc, char*** argv) {
  const LaunchEnvironment launch = read_launch_environment(std::getenv);
  if (!launch.has_mpi) return make_solo_communicator();
  auto world = std::make_unique<CheckedCommunicator>(std::make_unique<WorldCommunicator>(argc, argv));
  if (launch.ranks > 0 && launch.ranks != world->size())
    fail_usage(
        "the launcher started {} processes, but MPI connects {}; start Fern with the mpirun of the MPI it "
        "was "
        "built with, or with srun --mpi=pmix",
        launch.ranks, world->size());
  return world;
}

}  // namespace fern
