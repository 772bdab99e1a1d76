#include "launch/run_memory.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/core/error.h"
#include "framework/model/transformer.h"
#include "framework/ops/linear.h"
#include "framework/optim/adamw.h"
#include "launch/machine.h"
#include "launch/text.h"
#include "parallel/parallelize.h"

namespace fern {

ArenaSizes measure_arenas(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh) {
  Transformer model(config);
  Arena parameters = Arena::measuring("parameters");
  model.parameters().allocate(parameters, wide_of(config.dtype));
  model.allocate_packed_weights(parameters);
  Arena optimizer = Arena::measuring("optimizer");
  const AdamW moments(recipe.optimizer, model.parameters(), {0, optimizer_elements(model.parameters(), mesh)},
                      optimizer);
  Arena activations = Arena::measuring("activations");
  model.allocate_activations(activations, recipe.batch.micro_sequences * config.context);
  return {.parameters = parameters.used_bytes(),
          .optimizer = optimizer.used_bytes(),
          .reduction = reducer_bytes(model.parameters(), mesh, recipe.batch.reduction_shards),
          .activations = activations.used_bytes()};
}

size_t working_process_bytes() {
  constexpr int64_t kSize = 512;
  std::vector<float> memory(3 * kSize * kSize);
  const Tensor all_RI = Tensor::of(memory.data(), {3 * kSize, kSize});
  const Tensor x = all_RI.rows(0, kSize), y = all_RI.rows(kSize, 2 * kSize),
               w = all_RI.rows(2 * kSize, 3 * kSize);
  Stream stream;
  linear_forward(y, x, w, stream);
  linear_backward_input(x, y, w, true, stream);
  linear_backward_weight(w, y, x, stream);
  return resident_bytes() - memory.size() * sizeof(float);
}

std::vector<MemoryItem> memory_of_rank(const ArenaSizes& arenas, const ModelConfig& config, const Mesh& mesh,
                                       size_t process_bytes, size_t mapped_bytes) {
  std::vector<MemoryItem> items = {
      {"process", process_bytes, "the program, its libraries and their scratch"},
      {"parameters", arenas.parameters, "values and gradients, and values as products read them"},
      {"optimizer", arenas.optimizer, "both moments of AdamW"},
      {"reduction", arenas.reduction, "sums of the shards, and what other ranks send"},
      {"activations", arenas.activations, "of one micro-batch, with scratch"},
      {"shards", mapped_bytes, "mapped files, as far as the run touches them"},
  };
  if (mesh.zero > 0 && mesh.data > 1) {
    const Transformer model(config);
    items.push_back({"gathered moments",
                     static_cast<size_t>(model.parameters().padded_elements()) * 2 * sizeof(float),
                     "whole on rank 0 while it saves"});
  }
  return items;
}

size_t total_bytes(const std::vector<MemoryItem>& items) {
  size_t total = 0;
  for (const MemoryItem& item : items) total += item.bytes;
  return total;
}

void expect_fits(const std::vector<MemoryItem>& items, int ranks, size_t available_bytes) {
  const size_t needed = total_bytes(items) * static_cast<size_t>(ranks);
  if (needed <= available_bytes) return;
  const MemoryItem& largest = *std::ranges::max_element(items, {}, &MemoryItem::bytes);
  fail(
      "this does not fit: {} rank(s) here need {}, and the machine has {} to give. The largest part is {} "
      "({} a "
      "rank). A smaller batch.micro_sequences, model.recompute = true, parallel.zero = 1 with several ranks, "
      "or a "
      "smaller model or vocabulary need less",
      ranks, bytes_text(static_cast<double>(needed)), bytes_text(static_cast<double>(available_bytes)),
      largest.name, bytes_text(static_cast<double>(largest.bytes)));
}

}  // namespace fern
