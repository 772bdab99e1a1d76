// Which parameters a tensor of a Hugging Face folder holds. Fern's names are those of Llama and Mixtral, so
// each has a tensor of its name; transformers 5 may keep a layer's experts in three tensors instead
// (save_pretrained(save_original_format=False)): mlp.gate.weight, and stacked, by expert,
// mlp.experts.gate_up_proj [E, 2F, D] of w1 and w3 and mlp.experts.down_proj [E, D, F] of w2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/model/parameters.h"

namespace fern {

struct TensorContents {
  std::vector<int64_t> shape;
  std::vector<int> parameters;  // their indices, one after the other in the tensor
};

// Without parameters where the model has none of that tensor.
TensorContents contents_of(const Parameters& parameters, const std::string& tensor);

}  // namespace fern
