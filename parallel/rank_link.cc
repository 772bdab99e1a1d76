#include "parallel/rank_link.h"

#include <cstring>
#include <memory>
#include <thread>

#include "framework/core/error.h"
#include "framework/layers/tensor_axis.h"
#include "parallel/words.h"

namespace fern {

namespace {

constexpr int kActivationsLane = 0, kGradientsLane = 1;
constexpr int kEmbeddedLane = 2, kEmbeddingLane = 3;  // of the wrap link

// Of `whole` rows, those of the rank.
int64_t share_of(int64_t whole, const Mesh& mesh, const MeshPlace& place) {
  return LoneAxis(mesh.tensor, place.tensor).own(whole).elements();
}

int other(const Communicator& link) { return 1 - link.rank(); }

// Where stages are more than the cores, another needs this one.
void wait(Communicator& link, int lane) {
  for (link.progress(); !link.exchange_done(lane); link.progress()) std::this_thread::yield();
}

}  // namespace

TensorStream::TensorStream(Communicator* link, int lane, Cargo cargo, DType dtype, Shape shape, Arena& arena)
    : link_(link), lane_(lane), cargo_(cargo) {
  if (link != nullptr) buffer_ = arena.allocate(dtype, shape);
}

void TensorStream::begin(int64_t count, bool receives) {
  next_ = 0;
  last_ = count;
  if (receives && is_there() && count > 0) start(true);
}

void TensorStream::start(bool receives) {
  const std::span<float> words = words_of(buffer_);
  const Incoming incoming = {other(*link_), words};
  const Outgoing outgoing = {other(*link_), words};
  link_->start_exchange({.lane = lane_,
                         .bytes = static_cast<int64_t>(words.size_bytes()),
                         .index = static_cast<int32_t>(next_++),
                         .cargo = cargo_},
                        {&incoming, receives ? size_t{1} : size_t{0}},
                        {&outgoing, receives ? size_t{0} : size_t{1}});
}

void TensorStream::receive(const Tensor& to) {
  wait(*link_, lane_);
  std::memcpy(to.data(), buffer_.data(), buffer_.bytes());
  if (next_ < last_) start(true);
}

void TensorStream::send(const Tensor& from) {
  wait(*link_, lane_);
  std::memcpy(buffer_.data(), from.data(), buffer_.bytes());
  sent_bytes_ += static_cast<int64_t>(buffer_.bytes());
  start(false);
}

void TensorStream::finish() {
  if (is_there()) wait(*link_, lane_);
}

RankLink::RankLink(const ModelConfig& config, int64_t tokens, const Mesh& mesh, const MeshPlace& place,
                   const Links& links, Arena& arena)
    : stage_(place.stage),
      stages_(mesh.pipeline),
      parts_(mesh.virtual_stages),
      links_(links),
      wrap_(config.tie_embeddings ? links.wrap : nullptr) {
  const auto stream = [&](Communicator* link, int lane, Cargo cargo) {
    return TensorStream(link, lane, cargo, config.dtype, {share_of(tokens, mesh, place), config.hidden},
                        arena);
  };
  const Links ring = in_ring(mesh, links);
  activations_in_ = stream(ring.before, kActivationsLane, Cargo::kActivations);
  activations_out_ = stream(ring.after, kActivationsLane, Cargo::kActivations);
  gradients_in_ = stream(ring.after, kGradientsLane, Cargo::kActivationGradients);
  gradients_out_ = stream(ring.before, kGradientsLane, Cargo::kActivationGradients);
  embedded_ = stream(wrap_, kEmbeddedLane, Cargo::kActivationGradients);
}

RankLink::RankLink(const ModelConfig& config, int64_t tokens, MeshCommunicators& communicators, Arena& arena)
    : RankLink(config, tokens, communicators.mesh(), communicators.place(),
               {communicators.before(), communicators.after(), communicators.wrap()}, arena) {}

RankLink::Links RankLink::in_ring(const Mesh& mesh, Links links) {
  if (mesh.virtual_stages == 1) return links;
  if (links.before == nullptr) links.before = links.wrap;
  if (links.after == nullptr) links.after = links.wrap;
  return links;
}

size_t RankLink::bytes(const ModelConfig& config, int64_t tokens, const Mesh& mesh, const MeshPlace& place) {
  const std::unique_ptr<Communicator> nobody = make_solo_communicator();
  const bool is_first = place.stage == 0, is_last = place.stage + 1 == mesh.pipeline;
  Arena measure = Arena::measuring("pipeline");
  const RankLink link(config, tokens, mesh, place,
                      {.before = is_first ? nullptr : nobody.get(),
                       .after = is_last ? nullptr : nobody.get(),
                       .wrap = is_first != is_last ? nobody.get() : nullptr},
                      measure);
  return measure.used_bytes();
}

int64_t RankLink::sent_bytes_of_step(const ModelConfig& config, int64_t tokens, int64_t micro_batches,
                                     const Mesh& mesh, const MeshPlace& place) {
  if (mesh.pipeline == 1) return 0;
  const bool is_first = place.stage == 0, is_last = place.stage + 1 == mesh.pipeline;
  const auto element_bytes = static_cast<int64_t>(size_of(config.dtype));
  const auto value_bytes = static_cast<int64_t>(size_of(wide_of(config.dtype)));
  const int64_t activations = mesh.virtual_stages - (is_last ? 1 : 0),
                gradients = mesh.virtual_stages - (is_first ? 1 : 0),
                embedded = is_first && config.tie_embeddings ? 1 : 0;
  const int64_t rows = is_last && config.tie_embeddings ? share_of(config.vocabulary, mesh, place) : 0;
  return micro_batches * (activations + gradients + embedded) * share_of(tokens, mesh, place) *
             config.hidden * element_bytes +
         rows * config.hidden * value_bytes;
}

void RankLink::begin_step(const Transformer& model, int64_t micro_batches) {
  // What goes into the model's first part, or out of its last, is not exchanged.
  const int64_t before = micro_batches * (parts_ - (is_first() ? 1 : 0)),
                after = micro_batches * (parts_ - (is_last() ? 1 : 0));
  activations_in_.begin(before, true);
  activations_out_.begin(after, false);
  gradients_in_.begin(after, true);
  gradients_out_.begin(before, false);
  embedded_.begin(micro_batches, is_last());
  share_embedding(model);
}

// The last stage has updated the values in the step before; the first needs them at once, and until it has
// them there is nothing for the last to do.
void RankLink::share_embedding(const Transformer& model) {
  if (wrap_ == nullptr) return;
  const FetchedValues here(model.values(), model.shared_values());
  const std::span<float> values = words_of(model.shared_embedding());
  const Incoming incoming = {other(*wrap_), values};
  const Outgoing outgoing = {other(*wrap_), values};
  wrap_->start_exchange({.lane = kEmbeddingLane,
                         .bytes = static_cast<int64_t>(values.size_bytes()),
                         .cargo = Cargo::kEmbedding},
                        {&incoming, is_first() ? size_t{1} : size_t{0}},
                        {&outgoing, is_first() ? size_t{0} : size_t{1}});
  wait(*wrap_, kEmbeddingLane);
  if (is_last()) shared_bytes_ += static_cast<int64_t>(values.size_bytes());
}

void RankLink::go_on() {
  for (Communicator* link : {links_.before, links_.after, links_.wrap})
    if (link != nullptr) link->progress();
}

void RankLink::receive_activations(const Tensor& x_TD) { activations_in_.receive(x_TD); }
void RankLink::send_activations(const Tensor& x_TD) { activations_out_.send(x_TD); }
void RankLink::receive_gradient(const Tensor& dx_TD) { gradients_in_.receive(dx_TD); }
void RankLink::send_gradient(const Tensor& dx_TD) { gradients_out_.send(dx_TD); }

void RankLink::send_embedded(const Tensor& dx_TD) {
  if (embedded_.is_there()) embedded_.send(dx_TD);
}

bool RankLink::receive_embedded(const Tensor& dx_TD) {
  if (!embedded_.is_there()) return false;
  embedded_.receive(dx_TD);
  return true;
}

void RankLink::end_step() {
  for (TensorStream* stream : {&activations_out_, &gradients_out_, &embedded_}) stream->finish();
}

int64_t RankLink::sent_bytes() const {
  return activations_out_.sent_bytes() + gradients_out_.sent_bytes() + embedded_.sent_bytes() + shared_bytes_;
}

}  // namespace fern
