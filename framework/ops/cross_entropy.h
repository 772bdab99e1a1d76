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

}  // namespace fern
