// Which parameters a tensor of a Hugging Face folder holds. Fern's names are those of Llama and Mixtral, and
// of Qwen3 for the gains of queries and keys; Qwen3-MoE has other names for experts: mlp in place of
// block_sparse_moe, and gate_proj, up_proj and down_proj in place of w1, w3 and w2. transformers 5 may keep a
// layer's experts of either in three tensors (save_pretrained(save_original_format=False)): mlp.gate.weight,
// and stacked, by expert,
// mlp.experts.gate_up_proj [E, 2F, D] of w1 and w3 and mlp.experts.down_proj [E, D, F] of w2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/checkpoint/hugging_face_family.h"
#include "framework/model/parameters.h"

namespace fern {

// The name of a parameter's tensor in a folder of that family.
std::string tensor_name(const std::string& parameter, const HuggingFaceFamily& family);

struct TensorContents {
  std::vector<int64_t> shape;
  std::vector<int> parameters;  // their indices, one after the other in the tensor
};

// Without parameters where the model has none of that tensor.
TensorContents contents_of(const Parameters& parameters, const std::string& tensor);

}  // namespace fern
