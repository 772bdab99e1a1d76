#include "launch/step_time.h"

#include <omp.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <numeric>
#include <optional>

#include "launch/affinity.h"
#include "launch/cut_model.h"

namespace fern {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work) {
  const Clock::time_point begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

ModelConfig with_layers(ModelConfig model, int64_t layers) {
  model.layers = layers;
  if (model.experts.every > layers) model.experts = {};
  return model;
}

// The first layer, and as many more as it takes to meet each kind of layer.
int64_t deeper(const ModelConfig& model) {
  return std::min(model.layers, 1 + (model.experts.count > 0 ? model.experts.every : 1));
}

Mesh mesh_of(const Recipe& recipe, const Layout& layout) {
  return {.data = layout.ranks, .zero = recipe.mesh.zero};
}

double copied_byte_seconds() {
  constexpr size_t kBytes = 16 << 20;
  const std::vector<std::byte> from(kBytes);
  std::vector<std::byte> to(kBytes);
  return seconds_of([&] { std::memcpy(to.data(), from.data(), kBytes); }) / kBytes;
}

// The instances of a layout meet before each round, and decide together whether to do another.
class Rounds {
 public:
  Rounds(int ranks, double budget_s) : budget_s_(budget_s), meeting_(ranks, Decide{this}) {}
  // False when time is up and the least number of rounds is had.
  bool next() {
    meeting_.arrive_and_wait();
    return go_on_;
  }
  // This instance takes no further part.
  void leave() { meeting_.arrive_and_drop(); }

 private:
  static constexpr int64_t kLeast = 3;
  struct Decide {
    Rounds* rounds;
    void operator()() noexcept { rounds->decide(); }
  };
  void decide() {
    const Clock::time_point now = Clock::now();
    if (done_ == 0) begin_ = now;
    go_on_ = done_++ < kLeast || std::chrono::duration<double>(now - begin_).count() < budget_s_;
  }

  const double budget_s_;
  int64_t done_ = 0;
  bool go_on_ = true;
  Clock::time_point begin_;
  std::barrier<Decide> meeting_;
};

// What one rank times, round by round.
class Instance {
 public:
  Instance(const ModelConfig& model, const Recipe& recipe, const Layout& layout)
      : one_(with_layers(model, 1), recipe, mesh_of(recipe, layout)), further_(deeper(model) - 1) {
    if (further_ > 0) two_.emplace(with_layers(model, deeper(model)), recipe, mesh_of(recipe, layout));
  }

  void round(const MicroBatch& batch) {
    first_s_.push_back(seconds_of([&] { one_.forward_backward(batch); }));
    if (two_) both_s_.push_back(seconds_of([&] { two_->forward_backward(batch); }));
  }
  // After the rounds: an update changes the weights, which the next micro-batch would arrange anew.
  StepCosts costs() {
    CutModel& largest = two_ ? *two_ : one_;
    std::vector<double> element_s, byte_s;
    for (int i = 0; i < kUpdates; ++i) {
      element_s.push_back(seconds_of([&] { largest.update(); }) / static_cast<double>(largest.elements()));
      byte_s.push_back(copied_byte_seconds());
    }
    return {
        .first_layer_s = settled(first_s_),
        .next_layer_s =
            two_ ? std::max(0.0, settled(both_s_) - settled(first_s_)) / static_cast<double>(further_) : 0.0,
        .element_s = settled(element_s),
        .copied_byte_s = settled(byte_s)};
  }

 private:
  static constexpr int kUpdates = 5;

  // The first time warms up, and counts only when it was the only one.
  static double settled(const std::vector<double>& values) {
    return middle_mean({values.begin() + (values.size() > 1 ? 1 : 0), values.end()});
  }

  CutModel one_;
  int64_t further_;  // layers of the other model
  std::optional<CutModel> two_;
  std::vector<double> first_s_, both_s_;
};

}  // namespace

std::vector<Layout> layouts_of(int64_t cores, int64_t reduction_shards) {
  std::vector<Layout> layouts;
  for (int64_t ranks = 1; ranks <= cores; ++ranks)
    if (cores % ranks == 0 && reduction_shards % ranks == 0)
      layouts.push_back({static_cast<int>(ranks), cores / ranks});
  return layouts;
}

double step_seconds(const StepCosts& costs, const StepWork& work, int ranks) {
  constexpr double kExchangePasses = 3;  // in, out, and added
  constexpr double kArrangePasses = 4;   // read and written, in two orders
  const auto layers = static_cast<double>(work.layers);
  const double micro_batch_s = costs.first_layer_s + (layers - 1) * costs.next_layer_s;
  const double values_bytes = sizeof(float) * static_cast<double>(work.elements);
  const double received_bytes = 2 * values_bytes * (ranks - 1) / ranks;
  return static_cast<double>(work.micro_batches) / ranks * micro_batch_s +
         static_cast<double>(work.elements) * costs.element_s +
         (kArrangePasses * values_bytes + kExchangePasses * received_bytes) * costs.copied_byte_s;
}

size_t calibration_bytes(const ModelConfig& model, const Recipe& recipe, const Layout& layout) {
  const Mesh mesh = mesh_of(recipe, layout);
  size_t bytes = CutModel::bytes(with_layers(model, 1), recipe, mesh);
  if (model.layers > 1) bytes += CutModel::bytes(with_layers(model, deeper(model)), recipe, mesh);
  return bytes * static_cast<size_t>(layout.ranks);
}

StepCosts measure_step(const ModelConfig& model, const Recipe& recipe, const Layout& layout,
                       std::span<const MicroBatch> micro_batches, double budget_s) {
  const std::vector<int> cores = allowed_cores();
  Rounds rounds(layout.ranks, budget_s);
  const auto work = [&](int rank) {
    const std::unique_ptr<Rounds, void (*)(Rounds*)> leaves(&rounds, [](Rounds* r) { r->leave(); });
    if (static_cast<int64_t>(cores.size()) >= layout.ranks * layout.threads)
      keep_on(share_of(cores, rank, layout.ranks));
    omp_set_num_threads(static_cast<int>(layout.threads));
    Instance instance(model, recipe, layout);
    for (size_t i = 0; rounds.next(); ++i) instance.round(micro_batches[i % micro_batches.size()]);
    return instance.costs();
  };
  std::vector<std::future<StepCosts>> instances;
  for (int rank = 0; rank < layout.ranks; ++rank)
    instances.push_back(std::async(std::launch::async, work, rank));
  StepCosts slowest;
  for (std::future<StepCosts>& instance : instances) {
    const StepCosts costs = instance.get();
    slowest = {std::max(slowest.first_layer_s, costs.first_layer_s),
               std::max(slowest.next_layer_s, costs.next_layer_s),
               std::max(slowest.element_s, costs.element_s),
               std::max(slowest.copied_byte_s, costs.copied_byte_s)};
  }
  return slowest;
}

double middle_mean(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t cut = values.size() / 4;
  const auto begin = values.begin() + static_cast<int64_t>(cut),
             end = values.end() - static_cast<int64_t>(cut);
  return std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin);
}

}  // namespace fern
