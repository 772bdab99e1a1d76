#include <cstdio>
#include <cstdlib>
#include <vector>

#include "framework/core/error.h"
#include "parallel/communicator.h"

namespace fern {

namespace {

class SoloCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_rank() const override { return 0; }
  int local_size() const override { return 1; }
  void barrier() override {}
  void all_reduce_sum(std::span<double>) override {}
  void start_exchange(const Exchange&, std::span<const Incoming> incoming,
                      std::span<const Outgoing> outgoing) override {
    expect(incoming.empty() && outgoing.empty(), "[communicator] expected no messages on one process, got {}",
           incoming.size() + outgoing.size());
  }
  void progress() override {}
  bool exchange_done(int) const override { return true; }
  void all_gather(std::span<float>, std::span<const int64_t>) override {}
  void broadcast(std::span<std::byte>, int) override {}
  std::span<std::byte> share_memory(size_t bytes) override {
    memory_.resize(bytes);
    return memory_;
  }
  std::unique_ptr<Communicator> group(Axis, int group, int) override {
    return group < 0 ? nullptr : make_solo_communicator();
  }
  Pulse* watch(double) override { return nullptr; }
  [[noreturn]] void abort(int exit_code) override {
    std::fflush(nullptr);
    std::_Exit(exit_code);
  }

 private:
  std::vector<std::byte> memory_;
};

}  // namespace

std::unique_ptr<Communicator> make_solo_communicator() { return std::make_unique<SoloCommunicator>(); }

}  // namespace fern
