// A small model's parameters and moments, and folders to save them in.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "framework/checkpoint/checkpoint.h"
#include "framework/core/error.h"
#include "framework/core/rng.h"

namespace fern {

struct SmallModel {
  Parameters parameters;
  Arena arena;
  std::vector<float> first, second;

  explicit SmallModel(int64_t layers = 2, int64_t hidden = 24) : arena(take(layers, hidden)) {
    const auto padded = static_cast<size_t>(parameters.padded_elements());
    first.resize(padded);
    second.resize(padded);
  }
  Arena take(int64_t layers, int64_t hidden) {
    parameters.add("model.embed_tokens.weight", {200, hidden}, ParameterKind::kEmbedding, 0.02);
    for (int64_t layer = 0; layer < layers; ++layer) {
      const std::string prefix = fmt::format("model.layers.{}.", layer);
      parameters.add(prefix + "mlp.up_proj.weight", {13 * hidden, hidden}, ParameterKind::kMatrix, 0.02);
      parameters.add(prefix + "input_layernorm.weight", {hidden}, ParameterKind::kNorm, 0);
    }
    return sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
  }
  void fill(uint64_t seed) {
    const auto values = parameters.values().values<float>();
    for (size_t i = 0; i < static_cast<size_t>(parameters.elements()); ++i) {
      values[i] = static_cast<float>(random_normal(seed, Purpose::kTest, i, 0));
      first[i] = static_cast<float>(random_normal(seed, Purpose::kTest, i, 1));
      second[i] = static_cast<float>(random_uniform(seed, Purpose::kTest, i, 2));
    }
  }
  std::vector<float> values() const {
    const auto all = parameters.values().values<float>();
    return {all.begin(), all.end()};
  }
  CheckpointContents contents(int64_t step) const {
    CheckpointContents contents{.parameters = parameters,
                                .first_moment = first,
                                .second_moment = second,
                                .manifest = {},
                                .ledger = {{"steps", step}, {"languages", nlohmann::json::object()}},
                                .tokenizer_model = {}};
    contents.manifest.step = step;
    contents.manifest.updates = step - 1;
    contents.manifest.skipped_in_a_row = 1;
    contents.manifest.model = {{"layers", 2}, {"hidden", 24}, {"heads", 4}};
    contents.manifest.recipe = "[train]\nsteps = 9\n";
    contents.manifest.tokenizer_sha256 = "ab12";
    contents.manifest.state = {{"skipped", 1}};
    return contents;
  }
};

// An empty folder of its own for each test.
inline std::filesystem::path fresh_folder(const std::string& name) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / fmt::format("fern-{}-{}", name, ::getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline void write_byte(const std::filesystem::path& path, size_t at, char byte) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

// The message of the Error that `body` raises; "" (and a failed test) when it raises none.
template <typename Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}

inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace fern
