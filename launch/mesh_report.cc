#include "launch/mesh_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/model/transformer.h"
#include "launch/initial_model.h"
#include "launch/run_memory.h"
#include "launch/text.h"
#include "parallel/idle_share.h"
#include "parallel/layer_split.h"
#include "parallel/parallelize.h"
#include "parallel/rank_context_axis.h"
#include "parallel/rank_dispatcher.h"
#include "parallel/rank_link.h"
#include "parallel/rank_tensor_axis.h"

namespace fern {

namespace {

std::string text_of(int64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

// "layers 0 to 1, 4 to 5, embedding"
std::string what_is_held(const ModelConfig& model, const Transformer& stage) {
  std::string text = "layers";
  for (const ModelPart& part : stage.parts())
    text += fmt::format("{} {} to {}", &part == &stage.parts().front() ? "" : ",", part.first_layer,
                        part.last_layer - 1);
  if (stage.is_first())
    text += model.tie_embeddings && !stage.is_last() ? ", copy of the embedding" : ", embedding";
  if (stage.is_last()) text += model.tie_embeddings ? ", tied head" : ", head";
  return text;
}

// Bytes a step of each rank of a stage, the largest of its ranks; and of all ranks together.
struct Traffic {
  std::vector<int64_t> data, pipeline;
  int64_t all_data = 0, all_pipeline = 0;
};

// Bytes a step of all ranks over the tensor axis, without a part for each target; and that part.
std::pair<int64_t, int64_t> tensor_traffic(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                                           const std::vector<ModelPart>& parts) {
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences;
  const int64_t tokens = tokens_of_pass(recipe, model, mesh);
  int64_t fixed = 0, of_target = 0;
  for (const ModelPart& part : parts)
    for (int64_t rank = 0; rank < mesh.tensor; ++rank) {
      const LoneAxis axis(mesh.tensor, rank);
      const int64_t bytes = tensor_axis_bytes(model, part, axis, tokens, 0);
      fixed += micro_batches * mesh.context * bytes;
      of_target += tensor_axis_bytes(model, part, axis, tokens, 1) - bytes;
    }
  return {fixed, of_target};
}

// Bytes a step of all ranks over the context axis.
int64_t context_traffic(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                        std::span<const ModelPart> stages) {
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences;
  int64_t bytes = 0;
  for (const ModelPart& stage : stages)
    bytes += context_axis_bytes(model, stage, mesh.context, tokens_of_pass(recipe, model, mesh));
  return micro_batches * mesh.context * bytes;
}

// Bytes a step of all ranks over the expert axis, when experts are balanced and no position is padding; and
// of one row that leaves its rank.
std::pair<int64_t, int64_t> expert_axis_traffic(const ModelConfig& model, const Recipe& recipe,
                                                const Mesh& mesh, const std::vector<ModelPart>& parts) {
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences;
  const int64_t rows = recipe.batch.micro_sequences * model.context * model.experts.active;
  int64_t bytes = 0, row_bytes = 0;
  for (const ModelPart& part : parts) {
    const ExpertTraffic traffic = expert_traffic(model, part, mesh.expert);
    row_bytes += traffic.row_bytes;
    bytes += micro_batches * mesh.context * mesh.tensor * traffic.counts_bytes;
  }
  for (int64_t rank = 0; rank < mesh.expert; ++rank) {
    const int64_t elsewhere =
        model.experts.count - LoneDispatcher(mesh.expert, rank).own(model.experts.count).elements();
    bytes += micro_batches / mesh.expert * mesh.tensor * rows * elsewhere * row_bytes / model.experts.count;
  }
  return {bytes, row_bytes};
}

// Adds what the data ranks of a stage send.
void add_data_traffic(Traffic& traffic, const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                      int64_t stage) {
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences / mesh.data;
  int64_t most = 0;
  for (int64_t tensor = 0; tensor < mesh.tensor; ++tensor)
    for (int64_t expert = 0; expert < mesh.expert; ++expert) {
      LoneAxis axis(mesh.tensor, tensor);
      LoneDispatcher dispatcher(mesh.expert, expert);
      Transformer share(model, parts_of_stage(model, mesh, stage), &axis, nullptr, &dispatcher);
      Transformer whole(model);
      set_recipe_patterns(share.parameters(), whole.parameters(), recipe, nullptr);
      for (int64_t replica = 0; replica < mesh.replicas(); ++replica) {
        if (expert_index(mesh, place_of_replica(mesh, replica).data) != expert) continue;
        const Parameters& parameters = share.parameters();
        const int64_t bytes =
            data_sent_bytes(parameters, mesh, recipe.batch.reduction_shards, replica) +
            micro_batches * fetched_bytes(parameters, share.fetched_values(), mesh, replica) +
            fetched_bytes(parameters, {share.shared_values()}, mesh, replica);
        most = std::max(most, bytes);
        traffic.all_data += bytes;
      }
    }
  traffic.data.push_back(most);
}

Traffic traffic_of(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh) {
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences / mesh.data;
  Traffic traffic;
  for (int64_t stage = 0; stage < mesh.pipeline; ++stage) {
    add_data_traffic(traffic, model, recipe, mesh, stage);
    traffic.pipeline.push_back(0);
    for (int64_t tensor = 0; tensor < mesh.tensor; ++tensor) {
      const int64_t bytes =
          RankLink::sent_bytes_of_step(model, tokens_of_pass(recipe, model, mesh), micro_batches, mesh,
                                       {.stage = stage, .data = 0, .tensor = tensor});
      traffic.pipeline.back() = std::max(traffic.pipeline.back(), bytes);
      traffic.all_pipeline += mesh.replicas() * bytes;
    }
  }
  return traffic;
}

std::vector<std::string> pipeline_lines(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                                        const Traffic& traffic) {
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences;
  const int64_t of_stage = micro_batches / mesh.data, a_shard = micro_batches / recipe.batch.reduction_shards;
  const double if_equal =
      static_cast<double>(mesh.pipeline - 1) / static_cast<double>(mesh.virtual_stages * of_stage);
  return {
      fmt::format("  {:<18} {:>10}  a step, of all ranks ({} bytes)", "pipeline sends",
                  text_of(traffic.all_pipeline), traffic.all_pipeline),
      fmt::format(
          "  {:<18} {:>9.1f}%  of each stage's time, by the FLOPs of its passes; with equal parts {:.1f} %, "
          "(P - 1) / (V m) = {:.3f} of the time at work. More micro-batches a step{} make it less",
          "pipeline idle", 100 * idle_share(model, mesh, of_stage, a_shard), 100 * if_equal / (1 + if_equal),
          if_equal,
          model.layers < mesh.pipeline * (mesh.virtual_stages + 1) ? "" : ", or parallel.virtual_stages,")};
}

}  // namespace

std::vector<std::string> mesh_report(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh) {
  if (mesh.ranks() == 1) return {};
  const std::vector<ModelPart> parts = split_layers(model, mesh.pipeline * mesh.virtual_stages);
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences / mesh.data;
  std::vector<Transformer> stages;
  for (int64_t stage = 0; stage < mesh.pipeline; ++stage) {
    Transformer whole(model);
    set_recipe_patterns(stages.emplace_back(model, parts_of_stage(model, mesh, stage)).parameters(),
                        whole.parameters(), recipe, nullptr);
  }
  const Traffic traffic = traffic_of(model, recipe, mesh);
  std::vector<std::string> lines = {fmt::format(
      "mesh: {} stage(s){} x {} data{} x {} tensor{}, zero {}; {} micro-batches a step pass each stage",
      mesh.pipeline,
      mesh.virtual_stages > 1 ? fmt::format(" of {} parts of the layers", mesh.virtual_stages) : "",
      mesh.data, mesh.context > 1 ? fmt::format(" x {} context", mesh.context) : "", mesh.tensor,
      mesh.expert > 1 ? fmt::format(", {} of data share experts", mesh.expert) : "", mesh.zero,
      micro_batches)};
  for (size_t s = 0; s < stages.size(); ++s) {
    const ArenaSizes sizes = peak_arenas(model, recipe, mesh, nullptr, {.stage = static_cast<int64_t>(s)});
    lines.push_back(fmt::format(
        "  stage {:<12} {:>10}  {}; {} of its arenas, {} of them activations; sends {} over data, {} over "
        "pipeline",
        s, parameters_text(stages[s].parameters().elements(), stages[s].parameters().active_elements()),
        what_is_held(model, stages[s]), text_of(static_cast<int64_t>(sizes.total())),
        text_of(static_cast<int64_t>(sizes.activations)), text_of(traffic.data[s]),
        text_of(traffic.pipeline[s])));
  }
  const int64_t shards = recipe.batch.reduction_shards, a_shard = micro_batches * mesh.data / shards;
  if (releases_gradients(mesh) && a_shard > 1)
    lines.push_back(
        fmt::format("  gradients stay whole until the last of a reduction shard's {} micro-batches; with {}"
                    "batch.reduction_shards = {} (another order of sums) they are shared, and sent {} times "
                    "a step for {}",
                    a_shard, mesh.virtual_stages > 1 ? "parallel.virtual_stages = 1 and " : "",
                    shards * a_shard, shards * a_shard / mesh.data, shards / mesh.data));
  lines.push_back(fmt::format("  {:<18} {:>10}  a step, of all ranks ({} bytes)", "data axis sends",
                              text_of(traffic.all_data), traffic.all_data));
  if (mesh.tensor > 1) {
    const auto [fixed, of_target] = tensor_traffic(model, recipe, mesh, parts);
    lines.push_back(fmt::format("  {:<18} {:>10}  a step, of all ranks ({} bytes, and {} for each target)",
                                "tensor axis sends", text_of(fixed), fixed, of_target));
  }
  if (mesh.context > 1) {
    const int64_t bytes = context_traffic(model, recipe, mesh, parts);
    lines.push_back(fmt::format("  {:<18} {:>10}  a step, of all ranks ({} bytes)", "context axis sends",
                                text_of(bytes), bytes));
  }
  if (mesh.expert > 1) {
    const auto [bytes, row_bytes] = expert_axis_traffic(model, recipe, mesh, parts);
    lines.push_back(fmt::format(
        "  {:<18} {:>10}  a step, of all ranks, with balanced experts: {} bytes; {} of each row that "
        "leaves its rank, {:.1f} % of them then",
        "expert axis sends", text_of(bytes), bytes, row_bytes,
        100 * (1 - 1 / static_cast<double>(mesh.expert))));
  }
  if (mesh.pipeline == 1) return lines;
  for (std::string& line : pipeline_lines(model, recipe, mesh, traffic)) lines.push_back(std::move(line));
  return lines;
}

}  // namespace fern
