#include "framework/train/trainer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "framework/core/error.h"
#include "framework/core/profile.h"
#include "framework/optim/grad_norm.h"
#include "framework/train/step_timer.h"

namespace fern {

Trainer::Trainer(const TrainConfig& config, const TrainParts& parts, const RunFolder& run, Arena& arena)
    : config_(config),
      parts_(parts),
      run_(run),
      link_(parts.link != nullptr ? *parts.link : solo_link_),
      sums_(parts.loader.micro_batches(), parts.loader.shape().micro_sequences, slots_for_squares(),
            parts.model.config().expert_layers(), parts.model.context_axis().size()) {
  const int64_t all = parts.loader.micro_batches();
  if (config.reduction_shards < 1 || all % config.reduction_shards != 0)
    fail_usage(
        "batch.reduction_shards: expected a divisor of the {} micro-batches of a step (batch.sequences / "
        "batch.micro_sequences), got {}",
        all, config.reduction_shards);
  if (!parts.model.parameters().is_settled()) settle();
  if (parts.model.config().expert_layers() > 0)
    experts_.emplace(parts.model, config.experts, std::ssize(parts.loader.languages()));
  if (link_.stages() > 1) stream_.set_background(&link_);
  const StageWork work = {.stage = link_.stage(),
                          .stages = link_.stages(),
                          .parts = std::ssize(parts.model.parts()),
                          .micro_batches = parts.gradients.shards() * micro_batches_a_shard(),
                          .micro_batches_a_shard = micro_batches_a_shard()};
  const BatchShape& shape = parts.loader.shape();
  actions_ = pipeline_schedule(work);
  passes_ = allocate_passes(parts.model, arena,
                            shape.micro_sequences * shape.context / parts.model.context_axis().size(), work);
  take_layout();
}

const Parameters& Trainer::whole() const {
  return parts_.whole != nullptr ? *parts_.whole : parts_.model.parameters();
}

// All was built with room for weights that may come.
void Trainer::settle() {
  Parameters& parameters = parts_.model.parameters();
  parameters.settle();
  parts_.gradients.set_layout(parameters);
  parts_.optimizer.set_layout(parameters, parts_.gradients.slices());
}

void Trainer::take_layout() {
  const Parameters& parameters = parts_.model.parameters();
  sums_.set_chunks(slots_for_squares());
  chunks_ = chunks_in_whole(parameters, whole());
  squares_.resize(static_cast<size_t>(gradient_chunks(parameters)));
}

std::vector<std::string> Trainer::languages(int64_t step) const {
  std::vector<std::string> names;
  const std::vector<LanguageCounts> counts = parts_.loader.counts(step);
  for (size_t l = 0; l < counts.size(); ++l)
    if (counts[l].sequences > 0) names.push_back(parts_.loader.languages()[l].language());
  return names;
}

Trainer::Outcome Trainer::run(const std::atomic<bool>& stop_requested,
                              const std::function<void(const StepMetrics&)>& on_step) {
  while (step_ < config_.steps) {
    train_step();
    stream_.enter(Activity::kLog);
    on_step(metrics_);
    expect_not_too_many_skipped();
    stream_.enter(Activity::kAgree);
    const bool stop = parts_.scalars.any(stop_requested.load()) && step_ < config_.steps;
    const bool due = config_.checkpoint_every > 0 && step_ % config_.checkpoint_every == 0;
    if (due || stop || step_ == config_.steps) save();
    stream_.enter(Activity::kOutside);
    if (stop) return Outcome::kStopped;
  }
  return Outcome::kDone;
}

void Trainer::train_step() {
  if (stream_.profile() != nullptr) stream_.profile()->begin_step(step_ + 1);
  stream_.begin_step(step_ + 1);
  metrics_ = {.step = step_ + 1,
              .learning_rate = parts_.schedule.at(step_),
              .language_loss = {},
              .topology = {},
              .sparsity = {},
              .routers = {},
              .experts = {}};
  {
    const Timer<SpanTimer> step_timer(metrics_.step_s, stream_, "step");
    sums_.clear();
    if (experts_) experts_->begin_step();
    scoring_ = parts_.topology != nullptr && parts_.topology->begin_step(step_ + 1);
    metrics_.flops = flops_of_step();
    metrics_.sent_bytes = -sent_bytes();
    metrics_.pipeline_sent_bytes = -link_.sent_bytes();
    metrics_.tensor_sent_bytes = -parts_.model.axis().sent_bytes();
    metrics_.context_sent_bytes = -parts_.model.context_axis().sent_bytes();
    metrics_.expert_sent_bytes = -parts_.model.dispatcher().sent_bytes();
    forward_backward();
    {
      const Timer<OpTimer> timer(metrics_.reduce_s, stream_, "reduce");
      stream_.enter(Activity::kReduce);
      parts_.gradients.finish();
      if (scoring_) parts_.scored_gradients->finish();
      sum_squares();
      sums_.exchange(parts_.scalars);
      if (experts_) experts_->exchange(parts_.scalars, parts_.model.axis().index() == 0);
    }
    metrics_.loss = sums_.loss();
    if (experts_) metrics_.routers = sums_.router_losses();
    metrics_.grad_norm = sums_.grad_norm();
    update();
    if (experts_) metrics_.experts = experts_->end_step(step_ + 1, !metrics_.skipped);
    metrics_.sent_bytes += sent_bytes();
    metrics_.pipeline_sent_bytes += link_.sent_bytes();
    metrics_.tensor_sent_bytes += parts_.model.axis().sent_bytes();
    metrics_.context_sent_bytes += parts_.model.context_axis().sent_bytes();
    metrics_.expert_sent_bytes += parts_.model.dispatcher().sent_bytes();
    change_topology();
  }
  const std::vector<LanguageCounts> counts = parts_.loader.counts(step_);
  for (const LanguageCounts& language : counts) {
    metrics_.tokens += language.tokens;
    metrics_.loss_tokens += language.loss_tokens;
  }
  sums_.language_losses(metrics_.language_loss, counts);
  parts_.ledger.add(counts, sums_.digest_words());
  ++step_;
}

// Each share of the matrices has slots of its own, and so has each share of the experts: what is no expert
// goes to those of the first.
int64_t Trainer::slots_for_squares() const {
  return parts_.model.axis().size() * parts_.model.dispatcher().size() * gradient_chunks(whole());
}

void Trainer::sum_squares() {
  square_sums(squares_, parts_.model.parameters(), parts_.gradients.counted());
  const TensorAxis& axis = parts_.model.axis();
  const TokenDispatcher& dispatcher = parts_.model.dispatcher();
  const int64_t chunks = gradient_chunks(whole());
  for (const ChunkRun& run : chunks_) {
    const int64_t share = axis.index() * dispatcher.size() + (run.own_experts ? dispatcher.index() : 0);
    const auto all = sums_.squares().subspan(static_cast<size_t>(share * chunks));
    std::copy_n(squares_.begin() + run.part, run.count, all.begin() + run.whole);
  }
}

// Every process sees the same loss and norm, so all of them apply the step or none does.
void Trainer::update() {
  metrics_.skipped = !(std::isfinite(metrics_.loss) && std::isfinite(metrics_.grad_norm));
  if (metrics_.skipped) {
    ++skipped_;
    ++skipped_in_a_row_;
    return;
  }
  skipped_in_a_row_ = 0;
  ++updates_;
  const bool clip = config_.clip_norm > 0 && metrics_.grad_norm > config_.clip_norm;
  const double scale = clip ? config_.clip_norm / metrics_.grad_norm : 1.0;
  stream_.enter(Activity::kUpdate);
  {
    const Timer<SpanTimer> timer(metrics_.optimizer_s, stream_, "optimizer");
    parts_.optimizer.step(parts_.model.parameters(), metrics_.learning_rate, scale, updates_, stream_);
  }
  const Timer<OpTimer> timer(metrics_.reduce_s, stream_, "reduce");
  parts_.gradients.gather_values();
}

// Also after a step that was not applied: patterns change at the same steps whatever happens.
void Trainer::change_topology() {
  if (parts_.topology == nullptr) return;
  const Timer<OpTimer> timer(metrics_.topology_s, stream_, "topology");
  stream_.enter(Activity::kTopology);
  if (scoring_) parts_.topology->take_scores(step_ + 1);
  const bool watched = parts_.topology->watches(step_ + 1);
  std::vector<double> norms;
  if (watched) norms = parts_.topology->gradient_norms(parts_.gradients.counted(), parts_.scalars);
  metrics_.topology = parts_.topology->update_after(step_ + 1, parts_.optimizer, parts_.gradients, updates_);
  if (watched) metrics_.sparsity = parts_.topology->metrics(norms, metrics_.topology.has_value());
  if (metrics_.topology) take_layout();
}

// Scoring takes the dense gradient of some rows: one product more.
double Trainer::flops_of_step() const {
  const BatchShape& shape = parts_.loader.shape();
  double per_token = training_flops_per_token(parts_.model.config(), whole(), shape.context);
  if (parts_.topology != nullptr)
    per_token += 2.0 * static_cast<double>(parts_.topology->scored_elements(step_ + 1));
  return per_token *
         static_cast<double>(parts_.loader.micro_batches() * shape.micro_sequences * shape.context);
}

int64_t Trainer::sent_bytes() const {
  return parts_.gradients.sent_bytes() + parts_.model.values().sent_bytes() +
         (parts_.scored_gradients != nullptr ? parts_.scored_gradients->sent_bytes() : 0);
}

void Trainer::expect_not_too_many_skipped() const {
  if (!metrics_.skipped || skipped_in_a_row_ < config_.max_skipped) return;
  fail(
      "step {}: the loss ({}) or the gradient norm ({}) was not finite for {} steps in a row, and none of "
      "them "
      "was applied. Languages in its batch: {}. Lower the learning rate, lengthen the warm-up, or inspect "
      "the "
      "shards of these languages; the run continues from its newest checkpoint",
      metrics_.step, metrics_.loss, metrics_.grad_norm, skipped_in_a_row_,
      fmt::join(languages(metrics_.step - 1), ", "));
}

}  // namespace fern
