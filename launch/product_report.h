// What the products of sparse weights cost on this machine, and which kind a run takes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

// A line for each shape and density of sparse weights, measured with `tokens` tokens and OpenMP's threads:
// how many times as fast as dense the sparse products are, and whether the run multiplies them sparse or
// dense. A line says so where the kind that is taken is the slower one.
std::vector<std::string> product_report(const Parameters& parameters, const ModelConfig& model,
                                        int64_t tokens);
// What it takes for a while.
size_t product_report_bytes(const Parameters& parameters, const ModelConfig& model, int64_t tokens);

}  // namespace fern
