// A model with all that training it takes, run on given micro-batches: what probes of memory and of time do
// their work with. It runs the code that a run does.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "framework/core/arena.h"
#include "framework/data/micro_batch.h"
#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/train/solo_reducer.h"
#include "launch/run_memory.h"
#include "recipes/recipe.h"

namespace fern {

class CutModel {
 public:
  // A model of `config` as one of `mesh.data` ranks trains it: with its share of the recipe's reduction
  // shards, of the norm and, by `mesh.zero`, of the optimizer. Takes all its memory. Errors: the system has
  // not that much.
  CutModel(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh);
  CutModel(const CutModel&) = delete;
  CutModel& operator=(const CutModel&) = delete;
  // What the constructor takes.
  static size_t bytes(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh);

  int64_t elements() const { return model_.parameters().elements(); }
  // REQUIRES: a micro-batch as the recipe says.
  void forward_backward(const MicroBatch& batch);
  // What a step does beside its micro-batches and the exchange with other ranks: sums the shards, takes the
  // norm, updates (at rate 0).
  void update();

 private:
  Slice share_of_elements() const;

  Mesh mesh_;
  ArenaSizes sizes_;
  Arena parameters_arena_, optimizer_arena_, reduction_arena_, activations_arena_;
  Transformer model_;
  SoloReducer reducer_;
  AdamW optimizer_;
  std::unique_ptr<Transformer::Activations> activations_;
  std::vector<double> sequence_losses_, squares_;
  Stream stream_;
};

// A micro-batch of one document a sequence, all of its positions targets.
MicroBatch full_micro_batch(int64_t sequences, int64_t context, int64_t vocabulary);

}  // namespace fern
