#include "framework/checkpoint/hugging_face.h"

#include <algorithm>
#include <set>

#include "framework/checkpoint/declared_topology.h"
#include "framework/checkpoint/hugging_face_tensors.h"
#include "framework/checkpoint/safetensors.h"
#include "framework/core/error.h"
#include "framework/core/files.h"
#include "framework/model/whole_matrix.h"

namespace fern {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";

NamedValues named_values(const Parameters& parameters, size_t i, const HuggingFaceFamily& family) {
  const Parameter& parameter = parameters.list()[i];
  const int index = static_cast<int>(i);
  const std::string name = tensor_name(parameter.name, family);
  const std::vector<int64_t> shape = contents_of(parameters, parameter.name).shape;
  if (!parameter.sparse) return {name, shape, parameters.value(index).values<float>()};
  return {
      name, shape, {}, [&parameters, index](std::span<float> out) { write_whole(out, parameters, index); }};
}

// Parameters in order, in groups of at most max_file_bytes (a larger parameter has a file of its own).
std::vector<std::vector<NamedValues>> files_of(const Parameters& parameters, const HuggingFaceFamily& family,
                                               uint64_t max_file_bytes) {
  std::vector<std::vector<NamedValues>> files;
  uint64_t bytes = 0;
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    NamedValues values = named_values(parameters, i, family);
    if (files.empty() || bytes + values.size_bytes() > max_file_bytes) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += values.size_bytes();
    files.back().push_back(std::move(values));
  }
  return files;
}

void write_weights(const fs::path& folder, const Parameters& parameters, const HuggingFaceFamily& family,
                   uint64_t max_file_bytes) {
  const auto files = files_of(parameters, family, max_file_bytes);
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
      "other than zero, and {} more are; was it changed after its export?",
      path.string(), parameter.name, *there, place / columns, place % columns, parameter.nonzeros,
      parameter.shape.elements(), std::ranges::count_if(rest, [](float value) { return value != 0; }));
}

// The parameters that a tensor holds; `whole` is room for one matrix.
void read_tensor(Parameters& parameters, const std::vector<int>& indices, std::vector<float>& whole,
                 const SafetensorsFile& file, const std::string& tensor) {
  int64_t first = 0;
  for (const int index : indices) {
    const Parameter& parameter = parameters.list()[static_cast<size_t>(index)];
    if (!parameter.sparse) {
      file.read_part(tensor, first, parameters.value(index).values<float>());
    } else {
      whole.resize(static_cast<size_t>(parameter.shape.elements()));
      file.read_part(tensor, first, whole);
      take_whole(parameters, index, whole);
      expect_zeros(file.path(), parameter, whole);
    }
    first += parameter.shape.elements();
  }
}

}  // namespace

void write_hugging_face(const fs::path& folder, const ModelConfig& config, const Parameters& parameters,
                        const HuggingFaceOptions& options) {
  write_weights(folder, parameters, family_of(config), options.max_file_bytes);
  write_hugging_face_config(folder, config, options);
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
      const TensorContents contents = contents_of(parameters, tensor);
      expect(!contents.parameters.empty(),
             "{}: tensor '{}' is in the file, but not in the model that config.json describes",
             file.path().string(), tensor);
      expect(entry.shape == contents.shape, "{}: tensor '{}' is {}, but config.json makes it {}",
             file.path().string(), tensor, json(entry.shape).dump(), json(contents.shape).dump());
      read_tensor(parameters, contents.parameters, whole, file, tensor);
      for (const int index : contents.parameters)
        missing.erase(parameters.list()[static_cast<size_t>(index)].name);
    }
  }
  parameters.note_change();
  expect(missing.empty(),
         "{}: {} tensors of the model that config.json describes are missing, the first is '{}'",
         folder.string(), missing.size(), missing.empty() ? std::string() : *missing.begin());
}

}  // namespace fern
