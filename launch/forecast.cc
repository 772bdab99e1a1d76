#include "launch/forecast.h"

#include <algorithm>

#include "framework/model/transformer.h"
#include "launch/cut_model.h"
#include "launch/initial_model.h"
#include "launch/process_memory.h"

namespace fern {

namespace {

constexpr int64_t kSampledSteps = 4;

std::vector<MicroBatch> sample(const ModelConfig& model, const Recipe& recipe, const TrainingData* data) {
  constexpr size_t kMost = 8;
  if (data == nullptr)
    return {full_micro_batch(recipe.batch.micro_sequences, model.context, model.vocabulary)};
  std::vector<MicroBatch> micro_batches;
  for (int64_t step = 0; step < kSampledSteps; ++step)
    for (int64_t i = 0; i < data->loader().micro_batches() && micro_batches.size() < kMost; ++i)
      data->loader().load(micro_batches.emplace_back(), step, i);
  return micro_batches;
}

Transformer initial_model(const ModelConfig& config, const Recipe& recipe) {
  Transformer model(config);
  set_recipe_patterns(model.parameters(), model.parameters(), recipe, nullptr);
  return model;
}

double tokens_of_step(const ModelConfig& model, const Recipe& recipe, const TrainingData* data) {
  if (data == nullptr) return static_cast<double>(recipe.batch.sequences * model.context);
  int64_t tokens = 0;
  for (int64_t step = 0; step < kSampledSteps; ++step)
    for (const LanguageCounts& language : data->loader().counts(step)) tokens += language.tokens;
  return static_cast<double>(tokens) / kSampledSteps;
}

size_t needed_bytes(const Layout& layout, const ModelConfig& model, const Recipe& recipe,
                    size_t process_bytes) {
  const Mesh mesh{.data = layout.ranks, .zero = recipe.mesh.zero};
  const size_t mpi = layout.ranks > 1 ? kMpi_bytes : 0;
  return machine_bytes(memory_of_rank(peak_arenas(model, recipe, mesh), model, mesh, process_bytes + mpi),
                       layout.ranks);
}

}  // namespace

int64_t initial_elements(const ModelConfig& model, const Recipe& recipe) {
  return initial_model(model, recipe).parameters().elements();
}

double initial_flops_per_token(const ModelConfig& model, const Recipe& recipe) {
  return training_flops_per_token(model, initial_model(model, recipe).parameters(), model.context);
}

std::vector<Forecast> forecast(std::span<const Layout> layouts, const ModelConfig& model,
                               const Recipe& recipe, const TrainingData* data, size_t process_bytes,
                               size_t available_bytes, double budget_s) {
  const std::vector<MicroBatch> micro_batches = sample(model, recipe, data);
  const double tokens = tokens_of_step(model, recipe, data);
  const StepWork work = {.layers = model.layers,
                         .micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences,
                         .elements = initial_elements(model, recipe)};
  std::vector<Forecast> forecasts;
  for (const Layout& layout : layouts) {
    Forecast& entry = forecasts.emplace_back();
    entry.layout = layout;
    entry.machine_bytes = needed_bytes(layout, model, recipe, process_bytes);
    entry.fits = std::max(entry.machine_bytes, calibration_bytes(model, recipe, layout)) <= available_bytes;
    if (!entry.fits) continue;
    const StepCosts costs =
        measure_step(model, recipe, layout, micro_batches, budget_s / static_cast<double>(layouts.size()));
    entry.step_s = step_seconds(costs, work, layout.ranks);
    entry.tokens_per_second = tokens / entry.step_s;
  }
  return forecasts;
}

std::optional<Layout> best_of(std::span<const Forecast> forecasts) {
  std::optional<Layout> best;
  double most = 0;
  for (const Forecast& entry : forecasts)
    if (entry.fits && entry.tokens_per_second > most) {
      most = entry.tokens_per_second;
      best = entry.layout;
    }
  return best;
}

}  // namespace fern
