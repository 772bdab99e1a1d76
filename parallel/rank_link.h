// The pipeline's seam over ranks. What comes is received ahead, and what goes is copied aside first, so that
// no stage waits for another but for what it needs.
#pragma once

#include <cstdint>

#include "framework/core/arena.h"
#include "framework/train/stage_link.h"
#include "parallel/mesh.h"

namespace fern {

// Tensors of one size that one rank sends another, one after the other, on one lane.
class TensorStream {
 public:
  TensorStream() = default;
  // Between the two ranks of `link` (null: there is no such stream). Takes `shape` from `arena`.
  TensorStream(Communicator* link, int lane, Cargo cargo, DType dtype, Shape shape, Arena& arena);
  bool is_there() const { return link_ != nullptr; }
  // So many go, or come, from now on; to receive begins with the first.
  void begin(int64_t count, bool receives);
  // Waits for the next to come, and takes it.
  void receive(const Tensor& to);
  // Waits until the one before has gone.
  void send(const Tensor& from);
  void finish();
  int64_t sent_bytes() const { return sent_bytes_; }

 private:
  void start(bool receives);

  Communicator* link_ = nullptr;
  int lane_ = 0;
  Cargo cargo_ = Cargo::kActivations;
  Tensor buffer_;
  int64_t next_ = 0, last_ = 0, sent_bytes_ = 0;
};

class RankLink final : public StageLink {
 public:
  // Takes its buffers from `arena`, for micro-batches of `tokens`. Borrows the communicators. Of ranks that
  // share matrices each exchanges its own rows of the residual stream, and its share of the embedding.
  RankLink(const ModelConfig& config, int64_t tokens, MeshCommunicators& communicators, Arena& arena);
  // What it takes from the arena in a place of the mesh.
  static size_t bytes(const ModelConfig& config, int64_t tokens, const Mesh& mesh, const MeshPlace& place);

  // What the rank there sends to others in a step of `micro_batches` micro-batches: of each, and of each part
  // of the model there, its rows of activations to the next stage and of their gradient to the one before;
  // with a tied embedding also the gradient of the embedded inputs from the first to the last, and once a
  // step all values of its share of the embedding (V x D) back.
  static int64_t sent_bytes_of_step(const ModelConfig& config, int64_t tokens, int64_t micro_batches,
                                    const Mesh& mesh, const MeshPlace& place);

  int64_t stage() const override { return stage_; }
  int64_t stages() const override { return stages_; }
  void go_on() override;
  void begin_step(const Transformer& model, int64_t micro_batches) override;
  void receive_activations(const Tensor& x_TD) override;
  void send_activations(const Tensor& x_TD) override;
  void receive_gradient(const Tensor& dx_TD) override;
  void send_gradient(const Tensor& dx_TD) override;
  void send_embedded(const Tensor& dx_TD) override;
  bool receive_embedded(const Tensor& dx_TD) override;
  void end_step() override;
  int64_t sent_bytes() const override;

 private:
  bool is_first() const { return stage_ == 0; }
  bool is_last() const { return stage_ + 1 == stages_; }
  void share_embedding(const Transformer& model);

  // Those that the stage has.
  struct Links {
    Communicator *before = nullptr, *after = nullptr, *wrap = nullptr;
  };
  RankLink(const ModelConfig& config, int64_t tokens, const Mesh& mesh, const MeshPlace& place,
           const Links& links, Arena& arena);
  // With several parts a stage the last one's go on to the first.
  static Links in_ring(const Mesh& mesh, Links links);

  int64_t stage_, stages_, parts_;
  Links links_;
  Communicator* wrap_;  // of a tied model's first and last stage
  TensorStream activations_in_, activations_out_, gradients_in_, gradients_out_, embedded_;
  int64_t shared_bytes_ = 0;
};

}  // namespace fern
