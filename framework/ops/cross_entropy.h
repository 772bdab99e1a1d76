// Softmax cross-entropy over rows of logits, in nats. C rows (a chunk of tokens: all logits of a batch are
// never stored at once), V vocabulary.
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// loss[c] = logsumexp(logits[c]) - logits[c][target[c]]; 0 where target is -1. loss is f64.
// Errors: a target outside -1..V-1.
void cross_entropy_forward(Tensor loss_C, const Tensor& logits_CV, const Tensor& target_C, Stream& stream);
// The same, and turns the logits into their gradient in place: weight[c] * (softmax - onehot); rows without a
// target become zero. weight is wide_of the logits' dtype.
void cross_entropy_forward_backward(Tensor loss_C, Tensor logits_CV, const Tensor& target_C,
                                    const Tensor& weight_C, Stream& stream);

// The same where N ranks share the vocabulary, rank n with the logits of V consecutive ids, in steps. Targets
// are counted from the first of these: those of other ranks lie outside 0..V-1.
//
// stats[c] = largest logit, sum of exp(logit - largest), the target's logit (0 where it is another rank's).
// stats is f64.
void cross_entropy_stats(Tensor stats_C3, const Tensor& logits_CV, const Tensor& target_C, Stream& stream);
// From all ranks' stats, in the order of ranks: the loss, and scale[c] = largest logit, sum of exp(logit -
// largest) (both f64). REQUIRES: every row has a target, which is one rank's.
void cross_entropy_join(Tensor loss_C, Tensor scale_C2, const Tensor& stats_NC3, Stream& stream);
// Turns logits into their gradient in place.
void cross_entropy_backward(Tensor logits_CV, const Tensor& scale_C2, const Tensor& target_C,
                            const Tensor& weight_C, Stream& stream);

}  // namespace fern
