#include <nlohmann/json.hpp>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/hugging_face.h"
#include "framework/core/hash.h"
#include "framework/model/config_json.h"
#include "framework/model/transformer.h"
#include "launch/inspect/describe_sparsity.h"
#include "launch/inspect/inspect.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

// Verified by reading: every tensor that config.json implies is there, in its shape, and no other; of a
// sparse model, no value where it declares no weight.
nlohmann::ordered_json describe_export(const fs::path& path) {
  Transformer model(read_hugging_face_config(path));
  model.parameters().set_patterns(read_hugging_face_patterns(path, model.parameters()));
  const Arena arena =
      sized_arena("parameters", [&](Arena& a) { model.parameters().allocate(a, DType::kF32); });
  read_hugging_face_weights(path, model.parameters());
  nlohmann::ordered_json described = {{"kind", "export"},
                                      {"path", path.string()},
                                      {"parameters", model.parameters().dense_elements()},
                                      {"nonzeros", model.parameters().elements()},
                                      {"weights_hash", weights_hash(model.parameters())},
                                      {"topology_hash", nullptr},
                                      {"tokenizer_sha256", nullptr},
                                      {"model", to_json(model.config())},
                                      {"verified", true}};
  if (fs::exists(path / "tokenizer.model"))
    described["tokenizer_sha256"] = sha256_of_file(path / "tokenizer.model");
  if (!model.parameters().sparse_runs().empty()) describe_sparsity(described, model.parameters());
  return described;
}

}  // namespace

Inspector export_inspector() {
  return {"an export (config.json and model*.safetensors)",
          [](const fs::path& path) { return fs::exists(path / "config.json"); }, describe_export};
}

}  // namespace fern
