// What `fern plan` says of each way to share this machine's cores: memory and speed, and which it would take.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "framework/model/config.h"
#include "launch/step_time.h"
#include "launch/training_data.h"
#include "recipes/recipe.h"

namespace fern {

struct Forecast {
  Layout layout;
  size_t machine_bytes = 0;      // of all its ranks
  bool fits = false;             // and so does measuring it
  double step_s = 0;             // 0 when it does not fit
  double tokens_per_second = 0;  // likewise
};

// Weights that exist before the first step, and what a token then costs (training_flops_per_token).
int64_t initial_elements(const ModelConfig& model, const Recipe& recipe);
double initial_flops_per_token(const ModelConfig& model, const Recipe& recipe);

// Measures each layout, in about `budget_s` seconds together. Micro-batches and tokens are those of the run's
// first steps, or when there is no data yet full ones.
std::vector<Forecast> forecast(std::span<const Layout> layouts, const ModelConfig& model,
                               const Recipe& recipe, const TrainingData* data, size_t process_bytes,
                               size_t available_bytes, double budget_s);

// The fastest that fits; of equal ones the first. Nothing when none fits.
std::optional<Layout> best_of(std::span<const Forecast> forecasts);

}  // namespace fern
