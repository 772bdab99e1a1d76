// The command line of bench_train.
#pragma once

#include "framework/model/config.h"
#include "framework/sparsity/sparsity_config.h"

namespace fern {

struct TrainBenchOptions {
  ModelConfig model = {.vocabulary = 16000, .layers = 6, .hidden = 512, .ffn = 1408, .context = 512};
  int64_t sequences = 4;      // of a step
  int64_t micro_batches = 1;  // that they are cut into
  bool keep_packed = false;   // every weight, where Fern would pack some anew for each product
  SparsityConfig sparsity;    // dense unless a sparsity is asked for
  int steps = 5;
  bool measure_peak = true;  // of the matrix product
  bool profile = false;
};

// Prints help or what is wrong and ends the program when that is all there is to do. Errors: a dtype that has
// no name; what the model refuses comes with the model.
TrainBenchOptions read_train_bench_options(int argc, char** argv);

}  // namespace fern
