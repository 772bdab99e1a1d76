// The `fern` program with a rank that goes wrong in a training step, for run_fault_test.cc:
//
//   faulty_fern FAULT RANK STEP ONCE [arguments of fern]
//
// FAULT: in the backward pass of layer 0 stop (SIGSTOP), kill (SIGKILL) or loop (for ever); in that of layer
// 1 stop_stage (SIGSTOP); order (a barrier before a sum), size (a sum of fewer values), skip (a sum that is
// not called), slow (4 s before it agrees to a checkpoint). It happens once, when the file ONCE does not
// exist, which it then makes.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "launch/fern_program.h"
#include "launch/logging.h"

namespace fern {
namespace {

class FaultyCommunicator final : public Communicator {
 public:
  FaultyCommunicator(std::unique_ptr<Communicator> inner, std::string fault, int rank, int64_t step,
                     std::filesystem::path once)
      : inner_(std::move(inner)),
        fault_(std::move(fault)),
        at_rank_(rank),
        at_step_(step),
        once_(std::move(once)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  int local_rank() const override { return inner_->local_rank(); }
  int local_size() const override { return inner_->local_size(); }
  void barrier() override { inner_->barrier(); }
  void all_reduce_sum(std::span<double> values) override {
    if (is_due("skip")) return;
    if (is_due("order")) inner_->barrier();
    if (values.size() > 1 && is_due("size")) values = values.first(values.size() - 1);
    if (pulse_ != nullptr && pulse_->position().activity == Activity::kSave && is_due("slow"))
      std::this_thread::sleep_for(std::chrono::seconds(4));
    inner_->all_reduce_sum(values);
  }
  void start_exchange(const Exchange& exchange, std::span<const Incoming> incoming,
                      std::span<const Outgoing> outgoing) override {
    inner_->start_exchange(exchange, incoming, outgoing);
  }
  void progress() override {
    if (pulse_ != nullptr && pulse_->position().layer == 0) go_wrong();
    if (pulse_ != nullptr && pulse_->position().layer == 1 && is_due("stop_stage")) std::raise(SIGSTOP);
    inner_->progress();
  }
  bool exchange_done(int lane) const override { return inner_->exchange_done(lane); }
  void all_gather(std::span<float> values, std::span<const int64_t> counts) override {
    inner_->all_gather(values, counts);
  }
  void broadcast(std::span<std::byte> bytes, int root) override { inner_->broadcast(bytes, root); }
  std::span<std::byte> share_memory(size_t bytes) override { return inner_->share_memory(bytes); }
  std::unique_ptr<Communicator> group(Axis axis, int group, int order) override {
    std::unique_ptr<Communicator> members = inner_->group(axis, group, order);
    if (!members) return nullptr;
    auto faulty = std::make_unique<FaultyCommunicator>(std::move(members), fault_, at_rank_, at_step_, once_);
    faulty->pulse_ = pulse_;
    faulty->world_rank_ = world_rank_;
    return faulty;
  }
  Pulse* watch(double stall_s) override { return pulse_ = inner_->watch(stall_s); }
  [[noreturn]] void abort(int exit_code) override {
    inner_->abort(exit_code);
    std::abort();
  }

 private:
  // In the backward pass of a layer.
  void go_wrong() {
    if (is_due("stop")) std::raise(SIGSTOP);
    if (is_due("kill")) std::raise(SIGKILL);
    for (volatile bool loops = is_due("loop"); loops;) {
    }
  }
  bool is_due(std::string_view fault) {
    if (fault != fault_ || world_rank_ != at_rank_ || pulse_ == nullptr ||
        pulse_->position().step != at_step_ || std::filesystem::exists(once_))
      return false;
    std::ofstream made(once_);
    return true;
  }

  std::unique_ptr<Communicator> inner_;
  std::string fault_;
  int at_rank_;
  int64_t at_step_;
  std::filesystem::path once_;
  int world_rank_ = inner_->rank();
  Pulse* pulse_ = nullptr;
};

}  // namespace
}  // namespace fern

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::string fault = argv[1], rank = argv[2], step = argv[3], once = argv[4];
  argv[4] = argv[0];
  argv += 4;
  argc -= 4;
  fern::FaultyCommunicator communicator(fern::make_communicator(&argc, &argv), fault, std::stoi(rank),
                                        std::stoll(step), once);
  fern::set_up_logging(communicator.rank(), communicator.size());
  return fern::run_fern(argc, argv, communicator);
}
