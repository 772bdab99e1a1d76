#include "tests/bench/machine.h"

#include <algorithm>
#include <chrono>
#include <dnnl.hpp>
#include <fstream>
#include <unordered_map>

#include "framework/core/error.h"

namespace fern {

namespace {

using Memory = dnnl::memory;

constexpr int64_t kSize = 2048;
constexpr int kRuns = 8;

Memory::data_type library_type(std::string_view name) {
  if (name == "f32") return Memory::data_type::f32;
  if (name == "bf16") return Memory::data_type::bf16;
  fail("[gemm_peak] expected f32 or bf16, got {}", name);
}

// Zeros would be as fast, but some processors clock higher on them.
Memory operand(const Memory::desc& layout, const dnnl::engine& engine, dnnl::stream& stream) {
  const Memory::desc plain({kSize, kSize}, Memory::data_type::f32, Memory::format_tag::ab);
  Memory values(plain, engine), packed(layout, engine);
  auto* value = static_cast<float*>(values.get_data_handle());
  for (int64_t i = 0; i < kSize * kSize; ++i) value[i] = static_cast<float>(i % 251) / 251 - 0.5f;
  dnnl::reorder(values, packed).execute(stream, values, packed);
  return packed;
}

// The value of the line of `path` that begins with `name`, after its colon.
std::string line_of(const char* path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name)) return line.substr(line.find_first_not_of(" \t", line.find(':') + 1));
  return "unknown";
}

double status_bytes(std::string_view name) { return std::stod(line_of("/proc/self/status", name)) * 1024; }

}  // namespace

std::string processor_name() { return line_of("/proc/cpuinfo", "model name"); }

double resident_bytes() { return status_bytes("VmRSS"); }

double peak_resident_bytes() { return status_bytes("VmHWM"); }

double gemm_peak_flops(std::string_view dtype_name) {
  using Clock = std::chrono::steady_clock;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const Memory::desc any({kSize, kSize}, library_type(dtype_name), Memory::format_tag::any),
      plain({kSize, kSize}, Memory::data_type::f32, Memory::format_tag::ab);
  const dnnl::matmul::primitive_desc plan({any, any, plain}, engine);
  const dnnl::matmul product(plan);
  const std::unordered_map<int, Memory> operands = {
      {DNNL_ARG_SRC, operand(plan.src_desc(), engine, stream)},
      {DNNL_ARG_WEIGHTS, operand(plan.weights_desc(), engine, stream)},
      {DNNL_ARG_DST, Memory(plain, engine)}};
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = Clock::now();
    product.execute(stream, operands);
    stream.wait();
    const double elapsed_s = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, 2.0 * kSize * kSize * kSize / elapsed_s);
  }
  return best;
}

}  // namespace fern
