#include "tests/parallel/small_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <utility>

#include "framework/model/config_json.h"
#include "parallel/layer_split.h"
#include "tests/framework/data/loader_fixture.h"

namespace fern {

namespace {

// A name that all ranks of this program share, and no other program has.
std::string shared_name(const std::string& name) {
  int64_t process = getpid();
  world().broadcast(std::as_writable_bytes(std::span(&process, 1)), 0);
  return fmt::format("fern_{}_{}", name, process);
}

// Every rank writes the same shards for itself.
const testing_data::SmallData& data() {
  static const testing_data::SmallData small("ranks", kMicroBatches);
  return small;
}

// More room than any variant takes: of these addresses only what is written to becomes memory.
Arena roomy_arena(const std::string& name) { return Arena::reserving(name, size_t{1} << 26); }

// The ranks' reducer, watched for what it has started by when a step's last gradient comes.
class WatchedReducer final : public GradReducer {
 public:
  template <typename... Args>
  explicit WatchedReducer(std::vector<int64_t>& started_before_the_end, Args&&... args)
      : inner_(std::forward<Args>(args)...), started_before_the_end_(started_before_the_end) {}
  void add(const Parameter& parameter) override {
    started_ = inner_.started();
    inner_.add(parameter);
  }
  int64_t shards() const override { return inner_.shards(); }
  int64_t shard(int64_t i) const override { return inner_.shard(i); }
  void begin_shard() override { inner_.begin_shard(); }
  void begin_last_micro_batch() override { inner_.begin_last_micro_batch(); }
  void end_shard() override { inner_.end_shard(); }
  void finish() override {
    started_before_the_end_.push_back(started_);
    inner_.finish();
  }
  Slices slices() const override { return inner_.slices(); }
  Slices counted() const override { return inner_.counted(); }
  void gather_values() override { inner_.gather_values(); }
  void gather_everywhere(std::span<float> whole, std::span<const float> slices) override {
    inner_.gather_everywhere(whole, slices);
  }
  Slices slices_of(const Parameters& parameters) const override { return inner_.slices_of(parameters); }
  void set_layout(const Parameters& parameters) override { inner_.set_layout(parameters); }
  int64_t sent_bytes() const override { return inner_.sent_bytes(); }

  DataReducer& inner() { return inner_; }

 private:
  DataReducer inner_;
  std::vector<int64_t>& started_before_the_end_;
  int64_t started_ = 0;
};

// What all ranks hear of.
std::vector<double> numbers_of(const RunResult& result) {
  std::vector<double> numbers;
  const auto add = [&](const std::vector<double>& more) {
    numbers.insert(numbers.end(), more.begin(), more.end());
  };
  const auto count = [&](std::initializer_list<int64_t> more) {
    numbers.insert(numbers.end(), more.begin(), more.end());
  };
  add(result.losses);
  add(result.norms);
  add(result.flops);
  for (const TopologyUpdate& update : result.updates) count({update.nonzeros});
  for (const SparsityMetrics& step : result.watched_weights)
    for (const WeightMetrics& weight : step.weights) {
      count({weight.elements, weight.nonzeros, weight.active_rows, weight.active_columns, weight.ever_active,
             weight.grown});
      add({weight.gradient_norm});
    }
  return numbers;
}

}  // namespace

SharedFolder::SharedFolder(const std::string& name)
    : path_(fs::path(testing::TempDir()) / shared_name(name)) {}

SharedFolder::~SharedFolder() {
  world().barrier();
  std::error_code ignored;
  if (world().rank() == 0) fs::remove_all(path_, ignored);
}

ModelConfig Variant::model() const {
  return {.vocabulary = vocabulary,
          .layers = layers,
          .hidden = 64,
          .heads = heads,
          .kv_heads = kv_heads,
          .ffn = 96,
          .context = 16,
          .tie_embeddings = tied,
          .qk_norm = qk_norm,
          .dtype = dtype,
          .recompute = recompute,
          .experts = experts};
}

Mesh Variant::mesh() const {
  return {.data = 0,
          .tensor = tensor,
          .pipeline = pipeline,
          .expert = expert,
          .context = context,
          .zero = zero,
          .virtual_stages = virtual_stages};
}

Variant Variant::alone() const {
  Variant alone = *this;
  alone.tensor = alone.pipeline = alone.expert = alone.context = alone.virtual_stages = 1;
  alone.zero = 0;
  return alone;
}

SmallRun::SmallRun(Communicator& communicator, const fs::path& checkpoints, const Variant& variant)
    : checkpoints(checkpoints),
      config(variant.model()),
      communicators(resolve(variant.mesh(), communicator.size(), variant.shards, variant.layers),
                    communicator),
      whole(config),
      activations(roomy_arena("activations")),
      model(config, parts_of_stage(config, communicators.mesh(), communicators.place().stage), tensor_axis(),
            shared_context(), token_dispatcher()),
      pattern_link(communicators),
      method(set_patterns(variant)),
      parameters(sized_arena("parameters", [&](Arena& a) { allocate_parameters(a); })),
      topology_arena(roomy_arena("topology")),
      loader(data().loader(1)),
      schedule{.peak = variant.peak, .warmup_steps = 2, .steps = variant.steps},
      ledger(std::vector<std::string>{"am", "sw", "yo"}),
      reduction(roomy_arena("reduction")),
      moments(roomy_arena("moments")) {
  initialize(variant.matrix_scale);
  reducers = parallelize(model.parameters(), communicators, variant.shards, reduction);
  if (communicators.mesh().replicas() > 1 && variant.expert == 1) watch(variant);
  if (reducers.values) model.take_values_from(*reducers.values);
  add_topology(variant.shards);
  optimizer.emplace(AdamWConfig{.epsilon = variant.epsilon}, model.parameters(), reducers.gradients->slices(),
                    moments);
  link.emplace(config, config.context / variant.context, communicators, activations);
  tensors.emplace(layout(), model.parameters(), *optimizer, communicators);
  make_trainer(variant);
}

void SmallRun::initialize(double matrix_scale) {
  Parameters& own = model.parameters();
  own.initialize(1);
  for (size_t i = 0; i < own.list().size(); ++i)
    if (own.list()[i].kind == ParameterKind::kMatrix)
      for (float& value : own.value(static_cast<int>(i)).values<float>())
        value *= static_cast<float>(matrix_scale);
  own.note_change();
}

void SmallRun::make_trainer(const Variant& variant) {
  Manifest manifest;
  manifest.model = to_json(config);
  manifest.tokenizer_sha256 = std::string(64, 'a');
  const bool is_whole = variant.pipeline * variant.tensor * variant.expert == 1;
  trainer.emplace(TrainConfig{.steps = variant.steps, .reduction_shards = variant.shards},
                  TrainParts{.model = model,
                             .optimizer = *optimizer,
                             .schedule = schedule,
                             .loader = loader,
                             .gradients = *reducers.gradients,
                             .scalars = *reducers.scalars,
                             .ledger = ledger,
                             .topology = topology.get(),
                             .scored_gradients = scored_gradients.get(),
                             .link = &*link,
                             .tensors = &*tensors,
                             .whole = is_whole ? nullptr : &whole.parameters()},
                  RunFolder{checkpoints, manifest, {}}, activations);
}

void SmallRun::watch(const Variant& variant) {
  const Region region = whole_region(model.parameters());
  Communicator& replicas = communicators.data();
  auto reducer = std::make_unique<WatchedReducer>(
      started_before_the_end, region,
      plan_of(region, communicators.mesh(), variant.shards, replicas.rank(), variant.largest_bucket),
      replicas, reduction);
  if (reducers.values)
    reducers.values = std::make_unique<RankValues>(model.parameters(), std::vector{&reducer->inner()});
  reducers.gradients = std::move(reducer);
}

Parameters& SmallRun::layout() {
  const Mesh& mesh = communicators.mesh();
  return mesh.pipeline * mesh.tensor * mesh.expert == 1 ? model.parameters() : whole.parameters();
}

std::unique_ptr<Method> SmallRun::set_patterns(const Variant& variant) {
  std::unique_ptr<Method> made = make_method(variant.sparsity, layout(), variant.steps, 1);
  if (!made) return nullptr;
  if (&layout() != &model.parameters()) set_first_sizes(layout(), *made, {});
  set_initial_patterns(model.parameters(), *made);
  if (communicators.mesh().tensor > 1 && traits_of(variant.sparsity.method).grows)
    set_room_of_shares(model.parameters(), layout());
  return made;
}

void SmallRun::add_topology(int64_t shards) {
  if (!method) return;
  topology = std::make_unique<Topology>(std::move(method), model.parameters(), topology_arena,
                                        Topology::Part{layout(), pattern_link});
  if (!topology->scored().empty())
    scored_gradients = parallelize_scores(topology->scored(), topology->experts_begin(), communicators,
                                          shards, topology_arena);
}

TensorAxis* SmallRun::tensor_axis() {
  if (communicators.mesh().tensor == 1) return nullptr;
  return &axis.emplace(communicators.tensor(), activations);
}

ContextAxis* SmallRun::shared_context() {
  if (communicators.context() == nullptr) return nullptr;
  return &context_axis.emplace(*communicators.context());
}

TokenDispatcher* SmallRun::token_dispatcher() {
  if (communicators.mesh().expert == 1) return nullptr;
  return &dispatcher.emplace(*communicators.experts());
}

void SmallRun::allocate_parameters(Arena& arena) {
  model.parameters().allocate(arena, DType::kF32);
  const Mesh& mesh = communicators.mesh();
  if (fetches_values(model.parameters(), mesh) && !arena.is_measuring())
    model.parameters().keep_values(
        kept_values(model.parameters(), mesh, replica_index(mesh, communicators.place())));
}

void SmallRun::run(int64_t stop_after) {
  std::atomic<bool> stop = false;
  trainer->run(stop, [&](const StepMetrics& step) {
    note(step);
    // One rank is told to stop; the others follow.
    if (step.step == stop_after && communicators.world().rank() == 0) stop = true;
  });
  communicators.world().barrier();
  const Manifest manifest = read_manifest(checkpoints / fmt::format("step-{:06}", trainer->step()));
  result.weights = manifest.weights_hash;
  result.moments = manifest.optimizer_hash;
  result.topology = manifest.topology_hash;
}

void SmallRun::note(const StepMetrics& step) {
  result.losses.push_back(step.loss);
  result.norms.push_back(step.grad_norm);
  result.flops.push_back(step.flops);
  if (step.topology) result.updates.push_back(*step.topology);
  if (step.sparsity) result.watched_weights.push_back(*step.sparsity);
  result.sent_bytes += step.sent_bytes;
  result.pipeline_sent_bytes += step.pipeline_sent_bytes;
  result.tensor_sent_bytes += step.tensor_sent_bytes;
  result.context_sent_bytes += step.context_sent_bytes;
  result.expert_sent_bytes += step.expert_sent_bytes;
  result.tokens += step.tokens;
  result.loss_tokens += step.loss_tokens;
}

void SmallRun::resume(const fs::path& folder, int64_t step) {
  trainer->resume(folder / fmt::format("step-{:06}", step));
  result.begin = step;
}

SmallRun::AllValues::AllValues(SmallRun& run)
    : experts_(static_cast<int>(run.model.parameters().own_experts())),
      end_(static_cast<int>(run.model.parameters().list().size())),
      source_(run.reducers.values ? *run.reducers.values : held_),
      common_(source_, {0, experts_}),
      own_experts_(source_, {experts_, end_ - experts_}) {}

std::string SmallRun::hash() {
  const AllValues all(*this);
  return weights_hash(model.parameters());
}

RunResult run_alone(const Variant& variant, int64_t stop_after) {
  const auto solo = make_solo_communicator();
  SmallRun run(*solo, testing_data::fresh_folder("alone"), variant.alone());
  run.run(stop_after);
  return run.result;
}

RunResult run_on_all(const Variant& variant, int64_t stop_after) {
  const SharedFolder folder("all");
  SmallRun run(world(), folder.path(), variant);
  run.run(stop_after);
  expect_agreement(world(), numbers_of(run.result));
  return run.result;
}

RunResult stop_here_resume_alone(const Variant& here, int64_t stop) {
  const SharedFolder folder("stopped_here");
  SmallRun first(world(), folder.path(), here);
  first.run(stop);
  EXPECT_EQ(first.trainer->step(), stop);
  if (world().rank() != 0) return {};
  const auto solo = make_solo_communicator();
  SmallRun second(*solo, testing_data::fresh_folder("resumed"), here.alone());
  second.resume(folder.path(), stop);
  second.run();
  return second.result;
}

RunResult stop_alone_resume_here(const Variant& here, int64_t stop) {
  const SharedFolder folder("stopped_alone");
  if (world().rank() == 0) {
    const auto solo = make_solo_communicator();
    SmallRun first(*solo, folder.path(), here.alone());
    first.run(stop);
  }
  world().barrier();
  SmallRun second(world(), folder.path(), here);
  second.resume(folder.path(), stop);
  second.run();
  expect_agreement(world(), numbers_of(second.result));
  return second.result;
}

void expect_agreement(Communicator& communicator, const std::vector<double>& told) {
  std::vector<double> sum = told;
  communicator.all_reduce_sum(sum);
  for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], communicator.size() * told[i]) << i;
}

}  // namespace fern
