#include "framework/checkpoint/reference_model.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>

#include "framework/core/error.h"

namespace fern {

namespace {

using nlohmann::json;

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_errno(fmt::format("cannot read {}", path.string()));
  return {std::istreambuf_iterator<char>(file), {}};
}

// y[t][o] = sum_i x[t][i] w[o][i]
std::vector<double> product(const std::vector<double>& x, const std::vector<double>& w, int64_t inputs) {
  const int64_t rows = static_cast<int64_t>(x.size()) / inputs,
                outputs = static_cast<int64_t>(w.size()) / inputs;
  std::vector<double> y(static_cast<size_t>(rows * outputs));
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t o = 0; o < outputs; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < inputs; ++i)
        sum += x[static_cast<size_t>(t * inputs + i)] * w[static_cast<size_t>(o * inputs + i)];
      y[static_cast<size_t>(t * outputs + o)] = sum;
    }
  return y;
}

// Rotates each head's halves by position * theta^(-2i/K).
void rotate(std::vector<double>& x, int64_t heads, int64_t head_size, double theta) {
  const int64_t half = head_size / 2, rows = static_cast<int64_t>(x.size()) / (heads * head_size);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(t) *
                             std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_size));
        double& a = x[static_cast<size_t>((t * heads + h) * head_size + i)];
        double& b = x[static_cast<size_t>((t * heads + h) * head_size + i + half)];
        const double a0 = a, b0 = b;
        a = a0 * std::cos(angle) - b0 * std::sin(angle);
        b = b0 * std::cos(angle) + a0 * std::sin(angle);
      }
}

}  // namespace

ReferenceModel::ReferenceModel(const std::filesystem::path& folder) {
  const json config = json::parse(bytes_of(folder / "config.json"));
  vocabulary_ = config.at("vocab_size");
  hidden_ = config.at("hidden_size");
  layers_ = config.at("num_hidden_layers");
  heads_ = config.at("num_attention_heads");
  kv_heads_ = config.at("num_key_value_heads");
  is_qwen_ = config.at("model_type").get<std::string>().starts_with("qwen3");
  experts_ = config.value(is_qwen_ ? "num_experts" : "num_local_experts", int64_t{0});
  active_ = config.value("num_experts_per_tok", int64_t{0});
  step_ = config.value("decoder_sparse_step", int64_t{1});
  gates_sum_to_1_ = config.value("norm_topk_prob", !is_qwen_);
  head_dim_ = config.at("head_dim");
  rope_theta_ = config.at("rope_theta");
  epsilon_ = config.at("rms_norm_eps");
  tied_ = config.at("tie_word_embeddings");
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") read_file(entry.path());
}

void ReferenceModel::read_file(const std::filesystem::path& path) {
  const std::string bytes = bytes_of(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const json header = json::parse(bytes.substr(sizeof length, length));
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    const uint64_t begin = tensor.at("data_offsets").at(0), end = tensor.at("data_offsets").at(1);
    std::vector<float> values((end - begin) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + sizeof length + length + begin, end - begin);
    weights_[name] = Values(values.begin(), values.end());
  }
}

const ReferenceModel::Values& ReferenceModel::weight(const std::string& name) const {
  const auto found = weights_.find(name);
  expect(found != weights_.end(), "the exported folder has no tensor '{}'", name);
  return found->second;
}

ReferenceModel::Values ReferenceModel::norm(const Values& x, const std::string& name) const {
  const Values& w = weight(name);
  Values y(x.size());
  for (size_t row = 0; row < x.size(); row += w.size()) {
    double squares = 0;
    for (size_t i = 0; i < w.size(); ++i) squares += x[row + i] * x[row + i];
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(w.size()) + epsilon_);
    for (size_t i = 0; i < w.size(); ++i) y[row + i] = w[i] * x[row + i] * scale;
  }
  return y;
}

ReferenceModel::Values ReferenceModel::attention(const Values& x, const std::string& prefix,
                                                 int64_t n) const {
  const int64_t head_size = head_dim_, group = heads_ / kv_heads_;
  Values q = product(x, weight(prefix + "q_proj.weight"), hidden_);
  Values k = product(x, weight(prefix + "k_proj.weight"), hidden_);
  if (is_qwen_) {  // rows of a head each
    q = norm(q, prefix + "q_norm.weight");
    k = norm(k, prefix + "k_norm.weight");
  }
  const Values v = product(x, weight(prefix + "v_proj.weight"), hidden_);
  rotate(q, heads_, head_size, rope_theta_);
  rotate(k, kv_heads_, head_size, rope_theta_);
  const auto at = [head_size](const Values& values, int64_t t, int64_t heads, int64_t h) {
    return values.data() + (t * heads + h) * head_size;
  };
  Values o(static_cast<size_t>(n * heads_ * head_size), 0.0);
  for (int64_t h = 0; h < heads_; ++h)
    for (int64_t t = 0; t < n; ++t) {
      Values p(static_cast<size_t>(t + 1));
      double largest = -INFINITY, sum = 0;
      for (int64_t s = 0; s <= t; ++s) {
        double score = 0;
        for (int64_t i = 0; i < head_size; ++i)
          score += at(q, t, heads_, h)[i] * at(k, s, kv_heads_, h / group)[i];
        p[static_cast<size_t>(s)] = score / std::sqrt(static_cast<double>(head_size));
        largest = std::max(largest, p[static_cast<size_t>(s)]);
      }
      for (double& value : p) sum += value = std::exp(value - largest);
      for (int64_t s = 0; s <= t; ++s)
        for (int64_t i = 0; i < head_size; ++i)
          o[static_cast<size_t>((t * heads_ + h) * head_size + i)] +=
              p[static_cast<size_t>(s)] / sum * at(v, s, kv_heads_, h / group)[i];
    }
  return product(o, weight(prefix + "o_proj.weight"), heads_ * head_size);
}

ReferenceModel::Values ReferenceModel::swiglu(const Values& x, const std::string& prefix,
                                              const Names& names) const {
  const auto matrix = [&](const char* name) -> const Values& { return weight(prefix + name + ".weight"); };
  Values h = product(x, matrix(names.gate), hidden_);
  const Values up = product(x, matrix(names.up), hidden_);
  for (size_t i = 0; i < h.size(); ++i) h[i] = h[i] / (1.0 + std::exp(-h[i])) * up[i];
  return product(h, matrix(names.down), static_cast<int64_t>(matrix(names.down).size()) / hidden_);
}

// The most probable experts, of equal ones the lower number, weighed with their probabilities over the sum of
// these (Jiang et al. 2024, section 2.1), or with their probabilities.
ReferenceModel::Values ReferenceModel::experts(const Values& x, const std::string& prefix,
                                               const Names& names) const {
  Values y;
  for (auto row = x.begin(); row != x.end(); row += hidden_) {
    const Values token(row, row + hidden_);
    const Values logits = product(token, weight(prefix + "gate.weight"), hidden_);
    std::vector<size_t> chosen(static_cast<size_t>(experts_));
    std::iota(chosen.begin(), chosen.end(), size_t{0});
    std::ranges::stable_sort(chosen, std::greater<>(), [&](size_t e) { return logits[e]; });
    if (gates_sum_to_1_) chosen.resize(static_cast<size_t>(active_));
    double sum = 0;
    for (const size_t e : chosen) sum += std::exp(logits[e] - logits[chosen[0]]);
    chosen.resize(static_cast<size_t>(active_));
    Values mixed(token.size());
    for (const size_t e : chosen) {
      const Values one = swiglu(token, fmt::format("{}experts.{}.", prefix, e), names);
      for (size_t i = 0; i < mixed.size(); ++i)
        mixed[i] += std::exp(logits[e] - logits[chosen[0]]) / sum * one[i];
    }
    y.insert(y.end(), mixed.begin(), mixed.end());
  }
  return y;
}

ReferenceModel::Values ReferenceModel::feed_forward(const Values& x, const std::string& prefix,
                                                    int64_t layer) const {
  constexpr Names kNames = {"gate_proj", "up_proj", "down_proj"};
  if (experts_ == 0 || (layer + 1) % step_ != 0) return swiglu(x, prefix + "mlp.", kNames);
  if (is_qwen_) return experts(x, prefix + "mlp.", kNames);
  return experts(x, prefix + "block_sparse_moe.", {"w1", "w3", "w2"});
}

std::vector<double> ReferenceModel::logits(std::span<const int32_t> tokens) const {
  const int64_t n = static_cast<int64_t>(tokens.size());
  const Values& embedding = weight("model.embed_tokens.weight");
  Values x;
  for (int32_t token : tokens)
    x.insert(x.end(), embedding.begin() + token * hidden_, embedding.begin() + (token + 1) * hidden_);
  const auto add = [&x](const Values& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  };
  for (int64_t layer = 0; layer < layers_; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    add(attention(norm(x, prefix + "input_layernorm.weight"), prefix + "self_attn.", n));
    add(feed_forward(norm(x, prefix + "post_attention_layernorm.weight"), prefix, layer));
  }
  return product(norm(x, "model.norm.weight"), tied_ ? embedding : weight("lm_head.weight"), hidden_);
}

}  // namespace fern
