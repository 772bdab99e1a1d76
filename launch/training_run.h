// Everything one rank holds while it trains: the arenas, and what is built in them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "framework/core/arena.h"
#include "framework/data/ledger.h"
#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/train/trainer.h"
#include "launch/initial_model.h"
#include "launch/run_memory.h"
#include "launch/training_data.h"
#include "parallel/communicator.h"
#include "parallel/parallelize.h"
#include "parallel/rank_context_axis.h"
#include "parallel/rank_dispatcher.h"
#include "parallel/rank_link.h"
#include "parallel/rank_pattern_link.h"
#include "parallel/rank_tensor_axis.h"
#include "parallel/rank_tensors.h"
#include "recipes/recipe.h"

namespace fern {

class TrainingRun {
 public:
  // Takes arenas of `sizes` and builds in them; weights are the recipe's initial ones. Borrows all but the
  // folder. `mesh` is resolved. Where the run is `continued`, the trainer is to resume. Errors: the system
  // has not that much memory; those of initial_model.h.
  TrainingRun(const Recipe& recipe, const ModelConfig& model, const Mesh& mesh, const ArenaSizes& sizes,
              const TrainingData& data, const std::filesystem::path& folder, Communicator& communicator,
              const ContinuedRun* continued = nullptr);

  Trainer& trainer() { return trainer_; }
  const Parameters& parameters() const { return model_.parameters(); }
  // The layout of the whole model, of which parameters() may be a part.
  const Parameters& all_parameters() const { return whole_ ? whole_->parameters() : model_.parameters(); }
  const Ledger& ledger() const { return ledger_; }

 private:
  TensorAxis* tensor_axis();
  ContextAxis* context_axis();
  TokenDispatcher* dispatcher();
  // Layout of the whole model.
  Parameters& all() { return whole_ ? whole_->parameters() : model_.parameters(); }
  Parameters& in_place(const Recipe& recipe);

  Arena values_arena_, gradients_arena_, packed_arena_, optimizer_arena_, reduction_arena_,
      activations_arena_, topology_arena_;
  MeshCommunicators communicators_;
  std::optional<RankTensorAxis> axis_;           // where ranks share matrices
  std::optional<RankContextAxis> context_axis_;  // where ranks share sequences
  std::optional<RankDispatcher> dispatcher_;     // where ranks share experts
  std::optional<Transformer> whole_;             // its layout, where the model is a part of it
  Transformer model_;
  std::unique_ptr<LoadedModel> weights_;  // what the model begins with, until it is copied
  RankPatternLink pattern_link_;
  std::unique_ptr<Topology> topology_;  // null: a dense run
  Reducers reducers_;
  std::unique_ptr<GradReducer> scored_gradients_;  // null: nothing is scored
  AdamW optimizer_;
  RankLink link_;
  RankTensors tensors_;
  Ledger ledger_;
  Trainer trainer_;
};

}  // namespace fern
