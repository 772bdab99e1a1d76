#include "launch/mesh_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/model/transformer.h"
#include "launch/initial_model.h"
#include "launch/run_memory.h"
#include "launch/text.h"
#include "parallel/layer_split.h"
#include "parallel/parallelize.h"
#include "parallel/rank_link.h"

namespace fern {

namespace {

std::string text_of(int64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

std::string what_is_beside(const ModelConfig& model, const Transformer& part) {
  std::string text;
  if (part.is_first())
    text += model.tie_embeddings && !part.is_last() ? ", copy of the embedding" : ", embedding";
  if (part.is_last()) text += model.tie_embeddings ? ", tied head" : ", head";
  return text;
}

// Bytes a step of each rank of a stage, the largest of its ranks; and of all ranks together.
struct Traffic {
  std::vector<int64_t> data, pipeline;
  int64_t all_data = 0, all_pipeline = 0;
};

Traffic traffic_of(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh,
                   const std::vector<int64_t>& elements) {
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences / mesh.data;
  Traffic traffic;
  for (int64_t stage = 0; stage < mesh.pipeline; ++stage) {
    int64_t most = 0;
    for (int data = 0; data < static_cast<int>(mesh.data); ++data) {
      const int64_t bytes =
          data_sent_bytes(elements[static_cast<size_t>(stage)], mesh, recipe.batch.reduction_shards, data);
      most = std::max(most, bytes);
      traffic.all_data += bytes;
    }
    traffic.data.push_back(most);
    traffic.pipeline.push_back(RankLink::sent_bytes_of_step(
        model, recipe.batch.micro_sequences * model.context, micro_batches, mesh, stage));
    traffic.all_pipeline += mesh.data * traffic.pipeline.back();
  }
  return traffic;
}

}  // namespace

std::vector<std::string> mesh_report(const ModelConfig& model, const Recipe& recipe, const Mesh& mesh) {
  if (mesh.ranks() == 1) return {};
  const std::vector<ModelPart> parts = split_layers(model, mesh.pipeline);
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences / mesh.data;
  std::vector<Transformer> stages;
  std::vector<int64_t> elements;
  for (const ModelPart& part : parts) {
    Transformer& stage = stages.emplace_back(model, part);
    set_recipe_patterns(stage.parameters(), recipe, nullptr);
    elements.push_back(stage.parameters().padded_elements());
  }
  const Traffic traffic = traffic_of(model, recipe, mesh, elements);
  std::vector<std::string> lines = {
      fmt::format("mesh: {} stage(s) x {} data, zero {}; {} micro-batches a step pass each stage",
                  mesh.pipeline, mesh.data, mesh.zero, micro_batches)};
  for (size_t s = 0; s < parts.size(); ++s) {
    const ArenaSizes sizes = measure_arenas(model, recipe, mesh, nullptr, static_cast<int64_t>(s));
    lines.push_back(fmt::format(
        "  stage {:<12} {:>10}  layers {} to {}{}; {} of its arenas; sends {} over data, {} over pipeline", s,
        parameters_text(stages[s].parameters().elements(), stages[s].parameters().active_elements()),
        parts[s].first_layer, parts[s].last_layer - 1, what_is_beside(model, stages[s]),
        text_of(static_cast<int64_t>(sizes.total())), text_of(traffic.data[s]),
        text_of(traffic.pipeline[s])));
  }
  lines.push_back(fmt::format("  {:<18} {:>10}  a step, of all ranks ({} bytes)", "data axis sends",
                              text_of(traffic.all_data), traffic.all_data));
  if (mesh.pipeline == 1) return lines;
  lines.push_back(fmt::format("  {:<18} {:>10}  a step, of all ranks ({} bytes)", "pipeline sends",
                              text_of(traffic.all_pipeline), traffic.all_pipeline));
  lines.push_back(fmt::format(
      "  {:<18} {:>9.1f}%  of each stage's time, by FLOPs: more micro-batches a step make it less",
      "pipeline idle", 100 * idle_share(model, parts, micro_batches)));
  return lines;
}

}  // namespace fern
