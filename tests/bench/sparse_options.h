// The command line of bench_sparse.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/core/dtype.h"

namespace fern {

struct SparseBenchOptions {
  int64_t block = 1;
  DType dtype = DType::kF32;
  std::vector<std::pair<int64_t, int64_t>> shapes;  // outputs, inputs
  std::vector<double> densities = {0.5, 0.2, 0.1, 0.05};
  int64_t tokens = 2048;
  int rounds = 9;
  bool json = false;  // an object a shape and density, for sparse_peer.py
};

// Prints help or what is wrong and ends the program when that is all there is to do.
SparseBenchOptions read_sparse_bench_options(int argc, char** argv);

}  // namespace fern
