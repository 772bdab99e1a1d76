// The numbers of one step that all processes must agree on to the bit: each has a slot that one process
// fills, an exact sum over processes makes all slots whole, and every process then adds them in the same
// order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/data/loader.h"
#include "framework/ops/routing.h"
#include "framework/train/reducers.h"

namespace fern {

class StepSums {
 public:
  // `chunks`: of the flat gradient (grad_norm.h). `shares`: processes that share each micro-batch, with slots
  // of their own for losses.
  StepSums(int64_t micro_batches, int64_t micro_sequences, int64_t chunks, int64_t expert_layers = 0,
           int64_t shares = 1);
  // The flat gradient has become shorter. REQUIRES: not more chunks than before.
  void set_chunks(int64_t chunks);
  // Empties all slots for the next step.
  void clear();

  // What forward() gave for a share of one micro-batch: its weighted loss, and (in sequence_losses) each
  // sequence's unweighted sum of cross-entropy. With the first share the languages and digests
  // (token_stream.h) of the whole batch are noted too.
  std::span<double> sequence_losses(int64_t micro, int64_t share = 0);
  void set_micro_batch(int64_t micro, double loss, const MicroBatch& whole, int64_t share = 0);
  // Adds the losses of its routers, by layer with experts: 0 for those of layers elsewhere.
  void add_routers(int64_t micro, std::span<const RouterLosses> losses, int64_t share = 0);
  std::span<double> squares();

  // Makes every slot whole on every process.
  void exchange(ScalarReducer& scalars) { scalars.sum(all_); }

  // After exchange(): the digests of all sequences in slot order.
  std::span<const double> digest_words() const;
  // After exchange(). The batch's loss: micro-batches' weighted losses in order, of each its shares.
  double loss() const;
  // Micro-batch by micro-batch, of each the layers in order.
  RouterLosses router_losses() const;
  double grad_norm() const;
  // Mean nats per loss token of each language of `counts`; NaN for one without loss tokens in the batch.
  void language_losses(std::vector<double>& losses, const std::vector<LanguageCounts>& counts) const;

 private:
  std::span<const double> part(int64_t begin, int64_t count) const;
  // Where losses of sequences begin, and where their languages do.
  int64_t losses_end() const { return parts_ * (1 + 2 * expert_layers_); }
  int64_t languages_begin() const { return losses_end() + parts_ * micro_sequences_; }

  int64_t micro_batches_, micro_sequences_, sequences_, chunks_, expert_layers_, shares_;
  int64_t parts_;  // shares of micro-batches
  // Losses of shares of micro-batches, their routers' balance losses and z-losses by layer, losses of their
  // sequences; languages of sequences, digests of sequences, squares of chunks: one buffer, so that one
  // exchange is enough.
  std::vector<double> all_;
};

}  // namespace fern
