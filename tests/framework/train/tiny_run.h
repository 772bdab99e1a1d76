// A whole run, small enough for a test: data of three languages, one layer, one process.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "framework/model/config_json.h"
#include "framework/train/solo_reducer.h"
#include "framework/train/trainer.h"
#include "tests/framework/data/loader_fixture.h"

namespace fern {

inline const testing_data::SmallData& tiny_data() {
  static const testing_data::SmallData data("tiny_run");
  return data;
}

inline ModelConfig tiny_model() {
  return {.vocabulary = 1000, .layers = 1, .hidden = 16, .heads = 2, .kv_heads = 1, .ffn = 24, .context = 16};
}

// The solo reducer, with gradients made NaN on some steps (from 1).
class PoisonedReducer final : public GradReducer {
 public:
  PoisonedReducer(Parameters& parameters, int64_t shards, Arena& arena)
      : inner_(parameters, shards, arena), parameters_(parameters) {}
  void add(const Parameter& parameter) override { inner_.add(parameter); }
  int64_t shards() const override { return inner_.shards(); }
  int64_t shard(int64_t i) const override { return inner_.shard(i); }
  void begin_shard() override { inner_.begin_shard(); }
  void begin_last_micro_batch() override { inner_.begin_last_micro_batch(); }
  void end_shard() override { inner_.end_shard(); }
  void finish() override {
    inner_.finish();
    if (poisoned_steps.contains(++step))
      parameters_.gradients().as<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  }
  Slices slices() const override { return inner_.slices(); }
  Slices counted() const override { return inner_.counted(); }
  void gather_values() override {}
  void gather_everywhere(std::span<float> whole, std::span<const float> slices) override {
    inner_.gather_everywhere(whole, slices);
  }
  Slices slices_of(const Parameters& parameters) const override { return inner_.slices_of(parameters); }
  void set_layout(const Parameters& parameters) override { inner_.set_layout(parameters); }
  int64_t sent_bytes() const override { return 0; }

  std::set<int64_t> poisoned_steps;
  int64_t step = 0;

 private:
  SoloReducer inner_;
  Parameters& parameters_;
};

struct TinyOptions {
  TrainConfig train{.steps = 6, .reduction_shards = 2, .max_skipped = 3};
  ModelConfig model = tiny_model();
  std::string tokenizer_sha256 = std::string(64, 'a');
  ScalarReducer* scalars = nullptr;  // else solo
  int64_t micro_sequences = 2;
  const testing_data::SmallData* data = nullptr;  // else tiny_data()
  CheckpointTensors* tensors = nullptr;           // else all are here
};

inline std::vector<std::string> names_of(const Loader& loader) {
  std::vector<std::string> names;
  for (const LanguageData& language : loader.languages()) names.push_back(language.language());
  return names;
}

struct TinyRun {
  Transformer model;
  Arena parameter_arena;
  Loader loader;
  Schedule schedule{.peak = 1e-2, .warmup_steps = 2, .steps = 50};
  Arena reducer_arena, optimizer_arena, activation_arena;
  SoloScalars solo;
  Ledger ledger;
  std::optional<PoisonedReducer> gradients;
  std::optional<AdamW> optimizer;
  std::optional<Trainer> trainer;
  std::vector<StepMetrics> metrics;

  explicit TinyRun(const std::filesystem::path& checkpoints, const TinyOptions& options = {})
      : model(options.model),
        parameter_arena(
            sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); })),
        loader((options.data ? *options.data : tiny_data()).loader(options.micro_sequences)),
        reducer_arena("reducer", 1 << 22),
        optimizer_arena("optimizer", 1 << 22),
        activation_arena("activations", 1 << 22),
        ledger(names_of(loader)) {
    model.parameters().initialize(1);
    gradients.emplace(model.parameters(), options.train.reduction_shards, reducer_arena);
    optimizer.emplace(AdamWConfig{}, model.parameters(), gradients->slices(), optimizer_arena);
    Manifest manifest;
    manifest.model = to_json(options.model);
    manifest.tokenizer_sha256 = options.tokenizer_sha256;
    ScalarReducer& scalars = options.scalars ? *options.scalars : solo;
    trainer.emplace(options.train,
                    TrainParts{.model = model,
                               .optimizer = *optimizer,
                               .schedule = schedule,
                               .loader = loader,
                               .gradients = *gradients,
                               .scalars = scalars,
                               .ledger = ledger,
                               .tensors = options.tensors},
                    RunFolder{checkpoints, manifest, {}}, activation_arena);
  }
  TinyRun(const TinyRun&) = delete;

  // Asks to stop once `stop_after` steps are done.
  Trainer::Outcome run(int64_t stop_after = -1) {
    std::atomic<bool> stop = false;
    return trainer->run(stop, [&](const StepMetrics& step) {
      metrics.push_back(step);
      if (step.step == stop_after) stop = true;
    });
  }
  std::vector<float> values() const {
    const auto all = model.parameters().values().values<float>();
    return {all.begin(), all.end()};
  }
};

}  // namespace fern
