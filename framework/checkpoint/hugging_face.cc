#include "framework/checkpoint/hugging_face.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <set>

#include "framework/checkpoint/declared_topology.h"
#include "framework/checkpoint/safetensors.h"
#include "framework/core/error.h"
#include "framework/core/files.h"
#include "framework/model/whole_matrix.h"

namespace fern {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";

json config_json(const ModelConfig& config, const HuggingFaceOptions& options) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", config.vocabulary},
          {"hidden_size", config.hidden},
          {"intermediate_size", config.ffn},
          {"num_hidden_layers", config.layers},
          {"num_attention_heads", config.heads},
          {"num_key_value_heads", config.kv_heads},
          {"head_dim", config.head_size()},
          {"max_position_embeddings", config.context},
          {"rms_norm_eps", config.norm_epsilon},
          {"rope_theta", config.rope_theta},
          {"rope_scaling", nullptr},
          {"tie_word_embeddings", config.tie_embeddings},
          {"hidden_act", "silu"},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"attention_dropout", 0.0},
          {"initializer_range", 0.02},
          {"use_cache", true},
          {"bos_token_id", options.bos_id},
          {"eos_token_id", options.eos_id},
          {"torch_dtype", "float32"}};
}

json read_json(const fs::path& path) {
  std::ifstream file(path);
  if (!file) fail_errno(fmt::format("cannot read {}", path.string()));
  try {
    return json::parse(file);
  } catch (const json::exception& error) {
    fail("{}: not JSON: {}", path.string(), error.what());
  }
}

std::vector<int64_t> shape_of(const Parameter& parameter) {
  std::vector<int64_t> shape;
  for (int i = 0; i < parameter.shape.rank(); ++i) shape.push_back(parameter.shape[i]);
  return shape;
}

NamedValues named_values(const Parameters& parameters, size_t i) {
  const Parameter& parameter = parameters.list()[i];
  const int index = static_cast<int>(i);
  if (!parameter.sparse)
    return {parameter.name, shape_of(parameter), parameters.value(index).values<float>()};
  return {parameter.name, shape_of(parameter), {}, [&parameters, index](std::span<float> out) {
            write_whole(out, parameters, index);
          }};
}

// Parameters in order, in groups of at most max_file_bytes (a larger parameter has a file of its own).
std::vector<std::vector<NamedValues>> files_of(const Parameters& parameters, uint64_t max_file_bytes) {
  std::vector<std::vector<NamedValues>> files;
  uint64_t bytes = 0;
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    NamedValues values = named_values(parameters, i);
    if (files.empty() || bytes + values.size_bytes() > max_file_bytes) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += values.size_bytes();
    files.back().push_back(std::move(values));
  }
  return files;
}

void write_weights(const fs::path& folder, const Parameters& parameters, uint64_t max_file_bytes) {
  const auto files = files_of(parameters, max_file_bytes);
  SafetensorsMetadata metadata = declare_topology(folder, parameters);
  metadata["format"] = "pt";
  json index = {{"metadata", {{"total_size", parameters.dense_elements() * 4}}},
                {"weight_map", json::object()}};
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string name = files.size() == 1
                                 ? std::string("model.safetensors")
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files.size());
    write_safetensors(folder / name, files[i], metadata);
    for (const NamedValues& tensor : files[i]) index["weight_map"][tensor.name] = name;
  }
  if (files.size() > 1) write_text_durably(folder / kIndexName, index.dump(2) + "\n");
}

std::set<std::string> weight_files(const fs::path& folder) {
  if (!fs::exists(folder / kIndexName)) return {"model.safetensors"};
  std::set<std::string> names;
  const json index = read_json(folder / kIndexName);
  expect(index.contains("weight_map") && index["weight_map"].is_object(), "{}: no weight_map in it",
         (folder / kIndexName).string());
  for (const auto& [tensor, file] : index["weight_map"].items()) names.insert(file.get<std::string>());
  return names;
}

// Entries of a whole matrix that belong to no weight must be zero.
void expect_zeros(const fs::path& path, const Parameter& parameter, std::span<const float> rest) {
  const auto there = std::ranges::find_if(rest, [](float value) { return value != 0; });
  if (there == rest.end()) return;
  const int64_t place = there - rest.begin(), columns = parameter.shape[1];
  fail(
      "{}: tensor '{}' has {} at row {}, column {}, where no weight exists: {} of its {} entries may be "
      "other "
      "than zero, and {} more are; was it changed after its export?",
      path.string(), parameter.name, *there, place / columns, place % columns, parameter.nonzeros,
      parameter.shape.elements(), std::ranges::count_if(rest, [](float value) { return value != 0; }));
}

void read_parameter(Parameters& parameters, int index, std::vector<float>& whole,
                    const SafetensorsFile& file) {
  const Parameter& parameter = parameters.list()[static_cast<size_t>(index)];
  if (!parameter.sparse) {
    file.read(parameter.name, parameters.value(index).values<float>());
    return;
  }
  whole.resize(static_cast<size_t>(parameter.shape.elements()));
  file.read(parameter.name, whole);
  take_whole(parameters, index, whole);
  expect_zeros(file.path(), parameter, whole);
}

// Refuses a config.json value that would make another model than Fern computes. Absent keys have Llama's
// defaults.
void expect_value(const fs::path& path, const json& config, const char* key, const json& wanted) {
  const json got = config.value(key, wanted);
  expect(got == wanted, "{}: \"{}\" is {}; Fern computes Llama with {} only", path.string(), key, got.dump(),
         wanted.dump());
}

double rope_theta_of(const fs::path& path, const json& config) {
  // transformers 5 writes {"rope_parameters": {"rope_theta", "rope_type"}}; before, "rope_theta" and
  // "rope_scaling".
  const json rope = config.value("rope_parameters", json(nullptr));
  if (!rope.is_object()) {
    if (config.value("rope_scaling", json()) != json{{"rope_type", "default"}})  // which scales nothing
      expect_value(path, config, "rope_scaling", nullptr);
    return config.value("rope_theta", 10000.0);
  }
  expect_value(path, rope, "rope_type", "default");
  return rope.value("rope_theta", config.value("rope_theta", 10000.0));
}

}  // namespace

void write_hugging_face(const fs::path& folder, const ModelConfig& config, const Parameters& parameters,
                        const HuggingFaceOptions& options) {
  write_weights(folder, parameters, options.max_file_bytes);
  write_text_durably(folder / "config.json", config_json(config, options).dump(2) + "\n");
  const json generation = {
      {"bos_token_id", options.bos_id},
      {"eos_token_id", options.stop_ids.empty() ? json(options.eos_id) : json(options.stop_ids)},
      {"do_sample", false}};
  write_text_durably(folder / "generation_config.json", generation.dump(2) + "\n");
}

ModelConfig read_hugging_face_config(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  const json config = read_json(path);
  try {
    expect_value(path, config, "model_type", "llama");
    expect_value(path, config, "hidden_act", "silu");
    expect_value(path, config, "attention_bias", false);
    expect_value(path, config, "mlp_bias", false);
    ModelConfig model;
    model.vocabulary = config.at("vocab_size");
    model.layers = config.at("num_hidden_layers");
    model.hidden = config.at("hidden_size");
    model.heads = config.at("num_attention_heads");
    model.kv_heads = config.value("num_key_value_heads", model.heads);
    model.ffn = config.at("intermediate_size");
    model.context = config.at("max_position_embeddings");
    model.tie_embeddings = config.value("tie_word_embeddings", false);
    model.rope_theta = rope_theta_of(path, config);
    model.norm_epsilon = config.value("rms_norm_eps", 1e-6);
    validate(model);
    expect_value(path, config, "head_dim", model.head_size());
    return model;
  } catch (const json::exception& error) {
    fail("{}: not the configuration of a Llama model: {}", path.string(), error.what());
  }
}

std::vector<SparseRun> read_hugging_face_patterns(const fs::path& folder, const Parameters& parameters) {
  SafetensorsMetadata metadata;
  for (const std::string& name : weight_files(folder)) {
    const SafetensorsFile file(folder / name);
    if (metadata.empty()) metadata = file.metadata();
    expect(
        declared_topology_hash(file.metadata()) == declared_topology_hash(metadata),
        "{}: it declares other patterns (topology hash \"{}\") than the files before it (\"{}\"): they are "
        "not of one export",
        file.path().string(), declared_topology_hash(file.metadata()), declared_topology_hash(metadata));
  }
  return read_declared_topology(folder, metadata, parameters);
}

void read_hugging_face_weights(const fs::path& folder, Parameters& parameters) {
  std::set<std::string> missing;
  std::vector<float> whole;
  for (const Parameter& parameter : parameters.list()) missing.insert(parameter.name);
  for (const std::string& name : weight_files(folder)) {
    const SafetensorsFile file(folder / name);
    for (const auto& [tensor, entry] : file.entries()) {
      if (tensor.ends_with(".rotary_emb.inv_freq")) continue;  // early folders keep what rope_theta says
      const int index = parameters.find(tensor);
      expect(index >= 0, "{}: tensor '{}' is in the file, but not in the model that config.json describes",
             file.path().string(), tensor);
      const std::vector<int64_t> wanted = shape_of(parameters.list()[static_cast<size_t>(index)]);
      expect(entry.shape == wanted, "{}: tensor '{}' is {}, but config.json makes it {}",
             file.path().string(), tensor, json(entry.shape).dump(), json(wanted).dump());
      read_parameter(parameters, index, whole, file);
      missing.erase(tensor);
    }
  }
  parameters.note_change();
  expect(missing.empty(), "{}: {} tensors are missing, the first is '{}'", folder.string(), missing.size(),
         missing.empty() ? std::string() : *missing.begin());
}

}  // namespace fern
