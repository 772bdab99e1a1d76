// The machine that a benchmark runs on: its name, its memory in use, and the fastest matrix product it does.
#pragma once

#include <string>
#include <string_view>

namespace fern {

std::string processor_name();

// Of this process: what is in memory now, and the most that ever was.
double resident_bytes();
double peak_resident_bytes();

// FLOP/s of the best of a few square products by the library itself, with all of OpenMP's threads, operands
// in the library's own layout and sums in f32. `dtype_name` is "f32" or "bf16". Errors: another name; the
// library has no such product on this machine.
double gemm_peak_flops(std::string_view dtype_name);

}  // namespace fern
