#include "recipes/check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

#include "framework/core/divisors.h"
#include "framework/core/error.h"

namespace fern {

namespace {

// Messages start with where the key was given, or with the recipe when its default is in force.
class Checker {
 public:
  Checker(const Recipe& recipe, const Settings& settings) : recipe_(recipe), settings_(settings) {}

  void run() const {
    required();
    model();
    experts();
    batch();
    stages();
    virtual_stages();
    shares();
    sequences();
    expert_shares();
    zero();
    schedule();
    sparsity();
    data();
    balance();
  }

 private:
  std::string at(std::string_view key) const {
    const auto found = settings_.find(key);
    return found == settings_.end() ? recipe_.file.string() : found->second.where;
  }

  void required() const {
    for (const Field& field : fields())
      if (field.required && !settings_.contains(field.key))
        fail_usage("{}: {} is missing; expected {}. {}", recipe_.file.string(), field.key, accepted(field),
                   field.meaning);
  }

  void model() const {
    const ModelConfig& m = recipe_.model;
    if (m.head_dim == 0) heads_divide_hidden();
    if (m.head_dim % 2 != 0)
      fail_usage("{}: model.head_dim = {}: expected an even number, for rotary positions: {} or {}",
                 at("model.head_dim"), m.head_dim, m.head_dim - 1, m.head_dim + 1);
    if (m.heads % m.kv_heads != 0)
      fail_usage("{}: model.kv_heads = {} does not divide model.heads = {}; one of {} would",
                 at("model.kv_heads"), m.kv_heads, m.heads, fmt::join(divisors(m.heads), ", "));
  }

  void heads_divide_hidden() const {
    const ModelConfig& m = recipe_.model;
    std::vector<int64_t> heads;
    for (const int64_t d : divisors(m.hidden))
      if (m.hidden / d % 2 == 0) heads.push_back(d);
    if (m.hidden % 2 != 0)
      fail_usage("{}: model.hidden: expected an even number, got {}", at("model.hidden"), m.hidden);
    if (m.hidden % m.heads != 0)
      fail_usage("{}: model.heads = {} does not divide model.hidden = {}; one of {} would", at("model.heads"),
                 m.heads, m.hidden, fmt::join(heads, ", "));
    if (m.head_size() % 2 != 0)
      fail_usage(
          "{}: model.heads = {} makes heads of {} values, and rotary positions need an even number; "
          "one of {} would do",
          at("model.heads"), m.heads, m.head_size(), fmt::join(heads, ", "));
  }

  void experts() const {
    const ExpertConfig& e = recipe_.model.experts;
    if (e.count == 0) return;
    if (e.active > e.count)
      fail_usage("{}: model.experts.active = {}: expected 1 to {} (model.experts.count)",
                 at("model.experts.active"), e.active, e.count);
    if (e.active == 1 && e.router == RouterKind::kMixtral)
      fail_usage(
          "{}: model.experts.router = \"mixtral\" weighs a token's only expert with 1, so the router would "
          "never learn; set \"switch\", or model.experts.active to 2 or more",
          at("model.experts.active"));
    if (e.every > recipe_.model.layers)
      fail_usage("{}: model.experts.every = {} leaves no layer with experts: expected 1 to {} (model.layers)",
                 at("model.experts.every"), e.every, recipe_.model.layers);
  }

  void batch() const {
    const BatchConfig& b = recipe_.batch;
    if (b.sequences % b.micro_sequences != 0)
      fail_usage("{}: batch.micro_sequences = {} does not divide batch.sequences = {}; one of {} would",
                 at("batch.micro_sequences"), b.micro_sequences, b.sequences,
                 fmt::join(divisors(b.sequences), ", "));
    const int64_t micro_batches = b.sequences / b.micro_sequences;
    if (micro_batches % b.reduction_shards != 0)
      fail_usage(
          "{}: batch.reduction_shards = {} does not divide the {} micro-batches of a step "
          "(batch.sequences / batch.micro_sequences); one of {} would",
          at("batch.reduction_shards"), b.reduction_shards, micro_batches,
          fmt::join(divisors(micro_batches), ", "));
    if (recipe_.mesh.data > 0 && b.reduction_shards % recipe_.mesh.data != 0)
      fail_usage(
          "{}: parallel.data = {} does not divide batch.reduction_shards = {}; one of {} would, or 0 "
          "for all ranks",
          at("parallel.data"), recipe_.mesh.data, b.reduction_shards,
          fmt::join(divisors(b.reduction_shards), ", "));
  }

  // What stages of a pipeline cannot do yet.
  void stages() const {
    const int64_t stages = recipe_.mesh.pipeline;
    if (stages == 1) return;
    if (stages > recipe_.model.layers)
      fail_usage("{}: parallel.pipeline = {}: expected 1 to {} (model.layers): each stage has a layer",
                 at("parallel.pipeline"), stages, recipe_.model.layers);
    const SparsityConfig& sparsity = recipe_.sparsity;
    if (sparsity.method == SparsityMethod::kDense) return;
    if (sparsity.global)
      fail_usage(
          "{}: parallel.pipeline = {}: sparsity.global = true chooses among the weights of all layers, and a "
          "stage has those of its own; expected parallel.pipeline = 1, or sparsity.global = false",
          at("parallel.pipeline"), stages);
    if (sparsity.embedding && recipe_.model.tie_embeddings)
      fail_usage(
          "{}: parallel.pipeline = {}: sparsity.embedding = true with model.tie_embeddings = true is not "
          "split into stages; expected parallel.pipeline = 1, sparsity.embedding = false, or untied "
          "embeddings",
          at("parallel.pipeline"), stages);
  }

  // Gradients of a shard are complete before those of the next begin.
  void virtual_stages() const {
    const BatchConfig& b = recipe_.batch;
    const int64_t parts = recipe_.mesh.virtual_stages, stages = recipe_.mesh.pipeline;
    const int64_t micro_batches = b.sequences / b.micro_sequences;
    if (parts == 1 || micro_batches / b.reduction_shards % stages == 0) return;
    std::vector<int64_t> shards = divisors(micro_batches);
    std::erase_if(shards, [&](int64_t s) { return micro_batches / s % stages != 0; });
    fail_usage(
        "{}: parallel.virtual_stages = {}: a reduction shard of {} micro-batches (batch.sequences / "
        "batch.micro_sequences / batch.reduction_shards) is no multiple of parallel.pipeline = {}; expected "
        "1, or {} (a different value is a different order of sums)",
        at("parallel.virtual_stages"), parts, micro_batches / b.reduction_shards, stages,
        shards.empty() ? fmt::format("batch.sequences = {}", b.sequences * stages)
                       : fmt::format("batch.reduction_shards = {}", fmt::join(shards, ", ")));
  }

  // What ranks that share matrices cannot do.
  void shares() const {
    const int64_t ranks = recipe_.mesh.tensor;
    if (ranks == 1) return;
    try {
      validate_head_shares(recipe_.model, ranks);
    } catch (const Error& error) {
      fail_usage("{}: {}", at("parallel.tensor"), error.what());
    }
    if (recipe_.sparsity.method == SparsityMethod::kDense) return;
    if (recipe_.sparsity.global)
      fail_usage(
          "{}: parallel.tensor = {}: sparsity.global = true chooses among the weights of all matrices, which "
          "no rank has; expected parallel.tensor = 1, or sparsity.global = false",
          at("parallel.tensor"), ranks);
    if (recipe_.mesh.zero == 3)
      fail_usage("{}: parallel.tensor = {} with sparse weights: expected parallel.zero = 0, 1 or 2, got 3",
                 at("parallel.tensor"), ranks);
    cuts();
  }

  // Blocks and groups of sparse weights that ranks which share matrices would cut: their heads and their
  // inner sizes are whole numbers of these. An embedding is looked at when its vocabulary is known.
  void cuts() const {
    const SparsityConfig& s = recipe_.sparsity;
    const ModelConfig& m = recipe_.model;
    const bool has_blocks = s.block_shape() != BlockShape{};
    if (!has_blocks && s.pattern != PatternKind::kNm) return;
    int64_t common = 0;
    const auto share = [&](int64_t size) {
      for (int64_t rank = 1; rank <= recipe_.mesh.tensor; ++rank)
        common = std::gcd(common, size * rank / recipe_.mesh.tensor);
    };
    // Groups lie in rows, which only the output projections have cut.
    if (s.attention) share((has_blocks ? m.kv_heads : m.heads) * m.head_size());
    if (s.feed_forward && m.expert_layers() < m.layers) share(m.ffn);
    if (s.feed_forward && m.expert_layers() > 0) share(m.expert_ffn());
    if (s.feed_forward && m.experts.shared > 0) share(m.experts.shared * m.expert_ffn());
    const int64_t unit = has_blocks ? s.block : s.m;
    if (common % unit == 0) return;
    const std::string_view key = has_blocks ? "sparsity.block" : "sparsity.m";
    fail_usage(
        "{}: {} = {} does not divide what each of parallel.tensor = {} ranks has of every matrix; one "
        "of {} would",
        at(key), key, unit, recipe_.mesh.tensor, fmt::join(divisors(common), ", "));
  }

  // What ranks that share sequences cannot do.
  void sequences() const {
    try {
      validate_context(recipe_.model, recipe_.mesh.context);
    } catch (const Error& error) {
      fail_usage("{}: {}", at("parallel.context"), error.what());
    }
  }

  // What ranks that share experts cannot do.
  void expert_shares() const {
    const int64_t ranks = recipe_.mesh.expert, experts = recipe_.model.experts.count;
    if (ranks == 1) return;
    if (experts == 0)
      fail_usage(
          "{}: parallel.expert = {}: expected 1, since the model has no experts, or model.experts.count >= "
          "{}",
          at("parallel.expert"), ranks, ranks);
    if (ranks > experts)
      fail_usage("{}: parallel.expert = {}: expected 1 to {} (model.experts.count): each rank has an expert",
                 at("parallel.expert"), ranks, experts);
    if (recipe_.sparsity.method != SparsityMethod::kDense && recipe_.sparsity.global)
      fail_usage(
          "{}: parallel.expert = {}: sparsity.global = true chooses among the weights of all experts, and a "
          "rank has some; expected parallel.expert = 1, or sparsity.global = false",
          at("parallel.expert"), ranks);
  }

  // What cannot be done yet with weights of which each rank keeps a slice.
  void zero() const {
    if (recipe_.mesh.zero < 3) return;
    if (recipe_.mesh.pipeline > 1 && recipe_.model.tie_embeddings)
      fail_usage(
          "{}: parallel.zero = 3: a tied embedding is not shared between stages yet; expected at most 2, "
          "parallel.pipeline = 1, or model.tie_embeddings = false",
          at("parallel.zero"));
    const SparsityMethod method = recipe_.sparsity.method;
    if (method != SparsityMethod::kDense && method != SparsityMethod::kStatic)
      fail_usage(
          "{}: parallel.zero = 3: sparsity.method = \"{}\" looks at all weights when it changes patterns; "
          "expected at most 2, or sparsity.method = \"static\" or \"dense\"",
          at("parallel.zero"), name_of(method));
  }

  void schedule() const {
    const Schedule& s = recipe_.schedule;
    if (s.warmup_steps > s.steps)
      fail_usage("{}: optimizer.warmup_steps = {} is longer than train.steps = {}; expected at most {}",
                 at("optimizer.warmup_steps"), s.warmup_steps, s.steps, s.steps);
    const bool has_decay = s.kind == ScheduleKind::kWarmupStableDecay;
    if (has_decay && (s.decay_steps < 1 || s.decay_steps > s.steps - s.warmup_steps))
      fail_usage(
          "{}: optimizer.decay_steps: warmup_stable_decay expects 1 to {} (train.steps - "
          "optimizer.warmup_steps), got {}",
          at("optimizer.decay_steps"), s.steps - s.warmup_steps, s.decay_steps);
    if (!has_decay && s.decay_steps != 0)
      fail_usage(
          "{}: optimizer.decay_steps is only for optimizer.schedule = \"warmup_stable_decay\"; leave it "
          "out, or choose that schedule",
          at("optimizer.decay_steps"));
  }

  void sparsity() const {
    try {
      validate(recipe_.sparsity, recipe_.train.steps);
    } catch (const Error& error) {
      fail_usage("{}: {}", recipe_.file.string(), error.what());
    }
    const SparsityMethod method = recipe_.sparsity.method;
    if (method != SparsityMethod::kDense && recipe_.sparsity.head && !recipe_.sparsity.embedding &&
        recipe_.model.tie_embeddings)
      fail_usage(
          "{}: sparsity.head = true: expected sparsity.embedding = true beside it, since "
          "model.tie_embeddings = true makes both one matrix; or untie them",
          at("sparsity.head"));
    const bool begins_sparse = method != SparsityMethod::kDense && !traits_of(method).prunes;
    if (!recipe_.topology.empty() && !begins_sparse)
      fail_usage(
          "{}: sparsity.topology: expected sparsity.method static, set, rigl or srigl beside it, got \"{}\", "
          "which begins with all weights",
          at("sparsity.topology"), name_of(method));
  }

  void data() const {
    const DataConfig& d = recipe_.data;
    if (d.folder.empty()) fail_usage("{}: data.folder: expected a path, got \"\"", at("data.folder"));
    if (d.kind == DataKind::kInstruct && d.templates.empty())
      fail_usage(
          "{}: data.templates is missing; data.kind = \"instruct\" makes its examples from templates, "
          "as in recipes/instruct/templates",
          at("data.kind"));
    if (d.max_segments > 0 && d.max_segments < d.min_segments)
      fail_usage(
          "{}: data.max_segments = {} is below data.min_segments = {}; expected at least that, or 0 for "
          "all",
          at("data.max_segments"), d.max_segments, d.min_segments);
  }

  void balance() const {
    const BalanceRule& b = recipe_.data.balance;
    const bool by_weights = b.kind == BalanceKind::kWeights;
    if (by_weights && b.weights.empty())
      fail_usage(
          "{}: data.balance.weights is missing; the weights rule expects a table as {{am = 2, sw = 1}}",
          at("data.balance.rule"));
    if (!by_weights && !b.weights.empty())
      fail_usage(
          "{}: data.balance.weights is only for data.balance.rule = \"weights\"; leave it out, or choose "
          "that rule",
          at("data.balance.weights"));
    double sum = 0;
    for (const double weight : b.weights) sum += weight;
    if (by_weights && !(sum > 0))
      fail_usage("{}: data.balance.weights: expected at least one weight above 0",
                 at("data.balance.weights"));
    if (std::isinf(sum))
      fail_usage("{}: data.balance.weights: expected weights with a finite sum, got {}",
                 at("data.balance.weights"), fmt::join(b.weights, ", "));
  }

  const Recipe& recipe_;
  const Settings& settings_;
};

}  // namespace

void check(const Recipe& recipe, const Settings& settings) { Checker(recipe, settings).run(); }

}  // namespace fern
