// How long a training step takes on this machine: measured on a model of one and of two layers (of as many as
// meet one with experts, where not all have them) at the recipe's own sizes, then added up for all layers.
// Runs the code that training runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/data/micro_batch.h"
#include "framework/model/config.h"
#include "launch/run_memory.h"
#include "parallel/parallelize.h"
#include "recipes/recipe.h"

namespace fern {

// How the cores of a machine are shared: ranks, each with as many threads.
struct Layout {
  int ranks = 1;
  int64_t threads = 1;
  bool operator==(const Layout&) const = default;
};

// Every way to share `cores` in which ranks divide both them and the reduction shards, by ranks.
std::vector<Layout> layouts_of(int64_t cores, int64_t reduction_shards);

// What one rank measured while all ranks of its layout were at work.
struct StepCosts {
  double first_layer_s = 0;  // one micro-batch through embedding, one layer and head, and back
  double next_layer_s = 0;   // what each further layer adds, on average
  double element_s = 0;      // a parameter's shard sums, norm and update, in a step
  double copied_byte_s = 0;  // copying one byte of memory
};

struct StepWork {
  int64_t layers = 1;
  int64_t micro_batches = 1;  // of a step, on all ranks
  int64_t elements = 0;       // parameters
};

// Seconds of a step. Two parts are estimates from the bytes they copy: arranging the weights for products
// after an update, and the exchange between ranks, in which each receives what others summed of its slice and
// then what they hold of the rest, through memory that both see.
double step_seconds(const StepCosts& costs, const StepWork& work, int ranks);

// Memory that measuring takes on the whole machine.
size_t calibration_bytes(const ModelConfig& model, const Recipe& recipe, const Layout& layout);

// Runs `layout.ranks` models at once, each on its own threads and share of the cores, on the given
// micro-batches in turn, for about `budget_s` seconds, and at least three rounds. Returns the costs of the
// slowest. REQUIRES: layout.ranks divides the reduction shards; micro-batches as the recipe says; the caller
// is not yet held to some of the cores. Errors: the system has not enough memory.
StepCosts measure_step(const ModelConfig& model, const Recipe& recipe, const Layout& layout,
                       std::span<const MicroBatch> micro_batches, double budget_s);

// The mean of the middle half: what is left when the machine's hiccups are.
// REQUIRES at least one value.
double middle_mean(std::vector<double> values);

}  // namespace fern
