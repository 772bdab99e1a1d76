// A model as a Hugging Face folder of LlamaForCausalLM: config.json, generation_config.json and
// model*.safetensors (with model.safetensors.index.json when there are several). A sparse model's tensors
// have zeros where no weight exists, and topology.h5 says where that is (declared_topology.h). The
// tokenizer's files are tokenizer/hugging_face.h's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

struct HuggingFaceOptions {
  int32_t bos_id = 1, eos_id = 2;
  std::vector<int32_t> stop_ids;                // ids that end a generation, eos among them
  uint64_t max_file_bytes = uint64_t{5} << 30;  // of one safetensors file
};

// Writes the model's files into an existing folder. REQUIRES: f32 parameters.
// Errors: not writable, disk full.
void write_hugging_face(const std::filesystem::path& folder, const ModelConfig& config,
                        const Parameters& parameters, const HuggingFaceOptions& options);

// The model's shape from config.json. Errors: missing, not JSON, not a Llama that Fern computes (other
// activation, biases, scaled rotary embeddings, a head size that is not hidden / heads), each with key and
// value.
ModelConfig read_hugging_face_config(const std::filesystem::path& folder);

// The patterns that the folder's safetensors files declare; none of a plain folder. For
// Parameters::set_patterns(), before weights are read. Errors: files that declare different ones; those of
// read_declared_topology().
std::vector<SparseRun> read_hugging_face_patterns(const std::filesystem::path& folder,
                                                  const Parameters& parameters);

// Reads every parameter from the folder's safetensors files. Errors: one missing, of another shape, or one in
// the files that the model has not; of a sparse parameter an entry that is not zero where no weight exists.
void read_hugging_face_weights(const std::filesystem::path& folder, Parameters& parameters);

}  // namespace fern
