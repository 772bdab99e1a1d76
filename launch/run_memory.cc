#include "launch/run_memory.h"

#include <fmt/format.h>
#include <algorithm>

#include "framework/core/error.h"
#include "framework/model/transformer.h"
#include "framework/optim/adamw.h"
#include "framework/sparsity/sparse_product.h"
#include "framework/train/topology.h"
#include "framework/train/trainer.h"
#include "launch/initial_model.h"
#include "launch/product_report.h"
#include "launch/text.h"
#include "parallel/layer_split.h"
#include "parallel/parallelize.h"
#include "parallel/rank_link.h"
#include "parallel/rank_tensor_axis.h"

namespace fern {

namespace {

// Measured with Open MPI 4.1 and its shared-memory transport, on 2 and 4 ranks.
constexpr size_t kExchange_bytes = 1'500'000, kExchangeRank_bytes = 2'000'000;

// Columns, generations, and which blocks were ever there.
size_t bytes_of_all_patterns(const Method& method, const Parameters& whole, bool grows) {
  int64_t bytes = grows ? whole.padded_elements() * static_cast<int64_t>(sizeof(uint16_t)) : 0;
  for (const SparseWeight& weight : method.setup().weights) {
    const Parameter& parameter = whole.list()[static_cast<size_t>(whole.find(weight.name))];
    if (parameter.sparse)
      bytes += parameter.nonzeros / weight.block.elements() * static_cast<int64_t>(sizeof(uint16_t));
    if (grows) bytes += weight.blocks() / 8;
  }
  return static_cast<size_t>(bytes);
}

// What an update takes for a while: the patterns before and after, what may grow, what choosing among the
// blocks of one matrix takes, and generations before and after. Where ranks share matrices these are of whole
// ones, with the values of one as they come, in words and in place.
size_t bytes_of_update(const Method& method, const Parameters& parameters, const Parameters& whole,
                       bool are_shared) {
  const SparsityConfig& config = method.setup().config;
  if (config.method == SparsityMethod::kStatic) return 0;
  constexpr size_t kChoice_bytes = 3 * sizeof(uint64_t);  // of a block: worths, and two lists of positions
  size_t bytes = 0, largest = 0;
  for (size_t i = 0; i < method.setup().weights.size(); ++i) {
    const SparseWeight& weight = method.setup().weights[i];
    if (parameters.find(weight.name) < 0) continue;
    const size_t candidates = method.scored() ? static_cast<size_t>(method.most_candidates(i)) : 0;
    const auto values =
        static_cast<size_t>(whole.list()[static_cast<size_t>(whole.find(weight.name))].nonzeros);
    const size_t blocks = values / static_cast<size_t>(weight.block.elements());
    const auto rows = static_cast<size_t>(weight.rows / weight.block.rows);
    bytes += 2 * (blocks * sizeof(uint16_t) + rows * sizeof(int64_t)) + candidates * sizeof(Candidate);
    // Values that lie row by row still, in the order of blocks.
    const bool is_dense = !parameters.list()[static_cast<size_t>(parameters.find(weight.name))].sparse;
    const size_t gathered = is_dense && weight.block != BlockShape{} ? values * sizeof(float) : 0;
    if (config.global) bytes += gathered;
    largest = std::max(largest, blocks * kChoice_bytes + 2 * candidates * sizeof(uint64_t) + gathered +
                                    (are_shared ? 3 * values * sizeof(float) : 0));
  }
  if (traits_of(config.method).grows)
    bytes += static_cast<size_t>(parameters.padded_elements()) * sizeof(uint16_t);
  return bytes + largest;
}

void add_topology(ArenaSizes& sizes, std::unique_ptr<Method> method, Parameters& parameters,
                  Parameters& whole, const Mesh& mesh, const Recipe& recipe) {
  const bool grows = traits_of(recipe.sparsity.method).grows;
  Arena arena = Arena::measuring("topology");
  if (&whole != &parameters) sizes.all_patterns = bytes_of_all_patterns(*method, whole, grows);
  sizes.update = bytes_of_update(*method, parameters, whole, mesh.tensor > 1);
  SoloPatternLink nobody;
  const Topology topology(std::move(method), parameters, arena, Topology::Part{whole, nobody});
  sizes.topology = arena.used_bytes();
  if (sizes.topology > 0)
    sizes.topology +=
        score_reducer_bytes(topology.scored(), topology.experts_begin(), mesh, recipe.batch.reduction_shards);
  sizes.patterns = topology.bytes();
  for (const auto& [run, pattern] : parameters.sparse_runs())
    sizes.patterns +=
        pattern.bytes() + (parameters.is_multiplied(run) ? SparseProduct(pattern).index_bytes() : 0);
  if (grows) sizes.patterns += static_cast<size_t>(parameters.padded_elements()) * sizeof(uint16_t);
}

size_t optimizer_bytes(const Parameters& parameters, const Recipe& recipe, const Mesh& mesh) {
  Arena arena = Arena::measuring("optimizer");
  const AdamW moments(recipe.optimizer, parameters, {0, optimizer_elements(parameters, mesh)}, arena);
  return arena.used_bytes();
}

std::string what_activations_are_of(const Mesh& mesh) {
  std::string text =
      mesh.pipeline > 1 ? "of the micro-batches in flight, with scratch" : "of one micro-batch, with scratch";
  if (mesh.expert > 1) text += "; with room for all rows at the experts of one rank";
  return text;
}

size_t largest_tensor_bytes(const ModelConfig& config) {
  int64_t most = 0;
  const Transformer model(config);
  for (const Parameter& parameter : model.parameters().list()) most = std::max(most, parameter.elements());
  return static_cast<size_t>(most) * sizeof(float);
}

}  // namespace

int64_t tokens_of_pass(const Recipe& recipe, const ModelConfig& model, const Mesh& mesh) {
  return recipe.batch.micro_sequences * model.context / mesh.context;
}

ArenaSizes measure_arenas(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh,
                          const ContinuedRun* continued, const MeshPlace& place) {
  LoneAxis axis(mesh.tensor, place.tensor);
  LoneContext context_axis(mesh.context, place.context);
  LoneDispatcher dispatcher(mesh.expert, expert_index(mesh, place.data));
  Transformer model(config, parts_of_stage(config, mesh, place.stage), &axis, &context_axis, &dispatcher);
  Transformer all(config);
  Parameters& whole = mesh.pipeline * mesh.tensor * mesh.expert > 1 ? all.parameters() : model.parameters();
  std::unique_ptr<Method> method = set_recipe_patterns(model.parameters(), whole, recipe, nullptr, continued);
  if (method) take_room_of_shares(model.parameters(), whole, recipe, continued);
  Arena values = Arena::measuring("values"), gradients = Arena::measuring("gradients"),
        packed = Arena::measuring("packed weights");
  model.parameters().allocate(values, gradients, wide_of(config.dtype));
  const int64_t tokens = tokens_of_pass(recipe, config, mesh);
  model.allocate_packed_weights(packed, tokens, fetches_values(model.parameters(), mesh));
  const size_t optimizer_room = optimizer_bytes(model.parameters(), recipe, mesh),
               reduction_room = reducer_bytes(model.parameters(), mesh, recipe.batch.reduction_shards);
  model.parameters().settle();
  Arena activations = Arena::measuring("activations");
  const int64_t micro_batches = recipe.batch.sequences / recipe.batch.micro_sequences;
  const int64_t a_shard = micro_batches / recipe.batch.reduction_shards;
  allocate_passes(model, activations, tokens,
                  {.stage = place.stage,
                   .stages = mesh.pipeline,
                   .parts = mesh.virtual_stages,
                   .micro_batches = micro_batches / mesh.data,
                   .micro_batches_a_shard = a_shard});
  ArenaSizes sizes = {.values = value_bytes(model.parameters(), mesh),
                      .gradients = gradient_bytes(model.parameters(), mesh, a_shard, config.tie_embeddings),
                      .packed = packed.used_bytes(),
                      .optimizer = optimizer_bytes(model.parameters(), recipe, mesh),
                      .reduction = reducer_bytes(model.parameters(), mesh, recipe.batch.reduction_shards),
                      .activations = activations.used_bytes() + RankLink::bytes(config, tokens, mesh, place),
                      .all = model.parameters().gradients().bytes(),
                      .room = gradients.used_bytes(),
                      .optimizer_room = optimizer_room,
                      .reduction_room = reduction_room};
  if (mesh.tensor > 1) sizes.activations += RankTensorAxis::bytes(mesh.tensor);
  // What is put aside while patterns change.
  if (method && recipe.sparsity.method != SparsityMethod::kStatic) sizes.gradients = sizes.all;
  if (method) {
    sizes.timing =
        product_report_bytes(model.parameters(), config, recipe.batch.micro_sequences * config.context);
    add_topology(sizes, std::move(method), model.parameters(), whole, mesh, recipe);
  }
  return sizes;
}

Arena flat_arena(std::string name, size_t bytes, size_t room, Device device) {
  return bytes < room ? Arena::reserving(std::move(name), room) : Arena(std::move(name), room, device);
}

namespace {

// A run that prunes is largest after its first update at times: nearly all weights exist still, and now with
// patterns. None where it begins with its patterns.
std::optional<ContinuedRun> first_pruning(const ModelConfig& config, Recipe recipe,
                                          const ContinuedRun* continued) {
  const bool are_given = continued != nullptr && !continued->budget.empty();
  if (are_given || !traits_of(recipe.sparsity.method).prunes) return std::nullopt;
  recipe.sparsity.global = false;  // how many blocks of which weights go is known from their values alone
  Transformer model(config);
  const std::unique_ptr<Method> method =
      set_recipe_patterns(model.parameters(), model.parameters(), recipe, nullptr);
  int64_t step = 1;
  while (step <= recipe.train.steps && !method->updates_after(step)) ++step;
  if (step > recipe.train.steps) return std::nullopt;
  std::vector<Pattern> patterns;
  for (size_t i = 0; i < method->setup().weights.size(); ++i) patterns.push_back(method->initial(i));
  const std::vector<WeightView> views(patterns.begin(), patterns.end());
  const std::vector<Change> changes = method->counts(step, views);
  ContinuedRun run;
  for (size_t i = 0; i < views.size(); ++i) run.budget.push_back(views[i].blocks() - changes[i].drop);
  return run;
}

ArenaSizes peak_with(const std::optional<ContinuedRun>& pruned, const ModelConfig& config,
                     const Recipe& recipe, const Mesh& mesh, const ContinuedRun* continued,
                     const MeshPlace& place) {
  const ArenaSizes first = measure_arenas(config, recipe, mesh, continued, place);
  if (!pruned) return first;
  ArenaSizes later = measure_arenas(config, recipe, mesh, &*pruned, place);
  if (continued == nullptr) later.timing = 0;  // which a run does when it begins
  return later.peak() > first.peak() ? later : first;
}

}  // namespace

ArenaSizes peak_arenas(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh,
                       const ContinuedRun* continued, const MeshPlace& place) {
  return peak_with(first_pruning(config, recipe, continued), config, recipe, mesh, continued, place);
}

ArenaSizes largest_arenas(const ModelConfig& config, const Recipe& recipe, const Mesh& mesh,
                          const ContinuedRun* continued) {
  const std::optional<ContinuedRun> pruned = first_pruning(config, recipe, continued);
  ArenaSizes largest;
  for (int64_t stage = 0; stage < mesh.pipeline; ++stage)
    for (int64_t expert = 0; expert < mesh.expert; ++expert)
      for (int64_t tensor = 0; tensor < mesh.tensor; ++tensor) {
        const ArenaSizes sizes = peak_with(pruned, config, recipe, mesh, continued,
                                           {.stage = stage, .data = expert, .tensor = tensor});
        if (sizes.peak() > largest.peak()) largest = sizes;
      }
  return largest;
}

std::vector<MemoryItem> memory_of_rank(const ArenaSizes& arenas, const ModelConfig& config, const Mesh& mesh,
                                       size_t process_bytes) {
  std::vector<MemoryItem> items = {
      {"process", process_bytes, "the program, its libraries and their scratch"},
      {"values", arenas.values,
       arenas.values < arenas.all ? "a slice, and those of the longest layer, or of embedding or head"
                                  : "of all weights"},
      {"packed weights", arenas.packed, "values as products read them"},
      {"gradients", arenas.gradients,
       arenas.gradients < arenas.all ? "a slice, and what backward and the exchange are at"
                                     : "of all weights"},
      {"optimizer", arenas.optimizer, "both moments of AdamW"},
      {"reduction", arenas.reduction, "sums of the shards, and what other ranks send"},
      {"activations", arenas.activations, what_activations_are_of(mesh)},
  };
  if (arenas.patterns > 0)
    items.push_back({"patterns", arenas.patterns, "which weights exist, as products and methods read it"});
  if (arenas.topology > 0)
    items.push_back({"topology", arenas.topology, "rows of dense gradient that growing looks at"});
  if (arenas.all_patterns > 0)
    items.push_back(
        {"all patterns", arenas.all_patterns, "of the whole model, on rank 0 while it saves", true});
  if (arenas.for_a_while() > 0)
    items.push_back({"for a while", arenas.for_a_while(),
                     "while products are timed at first, or patterns change: those before and after"});
  if (mesh.ranks() > 1) {
    items.push_back({"exchange", kExchange_bytes + kExchangeRank_bytes * static_cast<size_t>(mesh.ranks()),
                     "what MPI keeps for messages under way"});
  }
  if (mesh.tensor > 1) {
    items.push_back(
        {"whole tensors", 2 * largest_tensor_bytes(config),
         "the largest, and its shares one after the other, while a checkpoint is written or read"});
  } else if (mesh.pipeline > 1 || mesh.expert > 1 || (mesh.zero > 0 && mesh.replicas() > 1)) {
    items.push_back(
        {"gathered tensor", largest_tensor_bytes(config), "the largest, on rank 0 while it saves", true});
  }
  return items;
}

size_t total_bytes(const std::vector<MemoryItem>& items) {
  size_t total = 0;
  for (const MemoryItem& item : items) total += item.bytes;
  return total;
}

size_t machine_bytes(const std::vector<MemoryItem>& items, int ranks) {
  size_t total = 0;
  for (const MemoryItem& item : items) total += item.bytes * (item.once ? 1 : static_cast<size_t>(ranks));
  return total;
}

void expect_fits(const std::vector<MemoryItem>& items, int ranks, size_t available_bytes) {
  const size_t needed = machine_bytes(items, ranks);
  if (needed <= available_bytes) return;
  const MemoryItem& largest = *std::ranges::max_element(items, {}, &MemoryItem::bytes);
  fail(
      "this does not fit: {} rank(s) here need {}, and the machine has {} to give. The largest part is {} "
      "({} a rank). A smaller batch.micro_sequences, model.recompute = true, parallel.zero = 3 with "
      "several ranks, or a smaller model or vocabulary need less",
      ranks, bytes_text(static_cast<double>(needed)), bytes_text(static_cast<double>(available_bytes)),
      largest.name, bytes_text(static_cast<double>(largest.bytes)));
}

}  // namespace fern
