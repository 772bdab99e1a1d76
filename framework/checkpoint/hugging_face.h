// A model as a Hugging Face folder of its family (hugging_face_family.h): config.json and
// generation_config.json (hugging_face_config.h), and model*.safetensors (with model.safetensors.index.json
// when there are several; names: hugging_face_tensors.h). A sparse model's tensors have zeros where no weight
// exists, and topology.h5 says where that is (declared_topology.h). The tokenizer's files are
// tokenizer/hugging_face.h's.
#pragma once

#include <filesystem>
#include <vector>

#include "framework/checkpoint/hugging_face_config.h"
#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

// Writes the model's files into an existing folder. REQUIRES: f32 parameters; why_not_hugging_face() is "".
// Errors: not writable, disk full.
void write_hugging_face(const std::filesystem::path& folder, const ModelConfig& config,
                        const Parameters& parameters, const HuggingFaceOptions& options);

// The patterns that the folder's safetensors files declare; none of a plain folder. For
// Parameters::set_patterns(), before weights are read. Errors: files that declare different ones; those of
// read_declared_topology().
std::vector<SparseRun> read_hugging_face_patterns(const std::filesystem::path& folder,
                                                  const Parameters& parameters);

// Reads every parameter from the folder's safetensors files; stacked experts too (hugging_face_tensors.h).
// Errors: one missing, of another shape, or one in the files that the model has not; of a sparse parameter an
// entry that is not zero where no weight exists.
void read_hugging_face_weights(const std::filesystem::path& folder, Parameters& parameters);

}  // namespace fern
