// A second, plain Llama, Mixtral, Qwen3 or Qwen3-MoE in f64 that shares no code with the model or with
// safetensors.h: it reads an exported folder from its bytes and computes logits by the formulas. Export
// compares itself against this; so can a reader.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace fern {

class ReferenceModel {
 public:
  // Reads config.json and every model*.safetensors. Errors: a file or tensor missing.
  explicit ReferenceModel(const std::filesystem::path& folder);
  // Logits at every position of one document: n x V, row-major.
  std::vector<double> logits(std::span<const int32_t> tokens) const;
  int64_t vocabulary() const { return vocabulary_; }

 private:
  using Values = std::vector<double>;
  const Values& weight(const std::string& name) const;
  void read_file(const std::filesystem::path& path);
  Values attention(const Values& x, const std::string& prefix, int64_t n) const;
  // The three matrices of a SwiGLU, by family.
  struct Names {
    const char *gate, *up, *down;
  };
  Values feed_forward(const Values& x, const std::string& prefix, int64_t layer) const;
  Values experts(const Values& x, const std::string& prefix, const Names& names) const;
  Values swiglu(const Values& x, const std::string& prefix, const Names& names) const;
  Values norm(const Values& x, const std::string& name) const;

  std::map<std::string, Values> weights_;
  int64_t vocabulary_ = 0, hidden_ = 0, layers_ = 0, heads_ = 0, kv_heads_ = 0, head_dim_ = 0;
  int64_t experts_ = 0, active_ = 0;  // in a layer, and of them for each token; 0: none
  int64_t step_ = 1;                  // layers step - 1, 2 step - 1, ... have experts
  double rope_theta_ = 0, epsilon_ = 0;
  bool tied_ = false;
  bool is_qwen_ = false;  // names experts as Qwen3-MoE, and norms queries and keys
  bool gates_sum_to_1_ = true;
};

}  // namespace fern
