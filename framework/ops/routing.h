// Which experts a token goes to, and with what weights. T tokens, E experts, K of them for each token, D
// hidden, L languages. All of it is wide (f32 beside bf16), whatever the activations are.
#pragma once

#include "framework/core/tensor.h"

namespace fern {

// logits = n W^T.
void router_forward(Tensor logits_TE, const Tensor& n_TD, const Tensor& w_ED, Stream& stream);
// dW += dlogits^T n.
void router_backward_weight(Tensor dw_ED, const Tensor& dlogits_TE, const Tensor& n_TD, Stream& stream);
// dn += dlogits W.
void router_backward_input(Tensor dn_TD, const Tensor& dlogits_TE, const Tensor& w_ED, Stream& stream);

struct Routing {
  Tensor probs_TE;   // softmax of the logits
  Tensor expert_TK;  // i32: the chosen experts, the best first
  Tensor gate_TK;    // what their outputs are multiplied with
  Tensor lse_T;      // logsumexp of the logits
  Tensor entropy_T;  // of the probabilities, in nats
  Routing first(int64_t tokens) const;
};

struct RoutingRule {
  bool renormalise = true;  // gates are the chosen probabilities divided by their sum; else as they are
  // f64, each may be empty: added to the probabilities for choosing, not for gates (Wang et al. 2024,
  // "Auxiliary-loss-free load balancing", equation 3). The second by the token's language.
  Tensor bias_E = {}, correction_LE = {};
};

// Chooses the K experts with the largest probability (plus bias); of equal ones the lower number.
// language_T is i32; a position of language -1 is padding: its experts are -1, all else of it is zero.
// Logits that are not finite choose K different experts too, with gates that are not finite.
// Errors: K > E; with corrections, a language outside -1..L-1.
void route_forward(const Routing& out, const Tensor& logits_TE, const Tensor& language_T,
                   const RoutingRule& rule, Stream& stream);

// Losses of the router itself, sums over tokens: balance sum_e share[e] probs[e] - push sum_e correction[e]
// probs[e], with the correction of the token's language, and z lse^2.
struct RouterLossWeights {
  Tensor share_E = {};  // f64; REQUIRED where balance is not 0
  double balance = 0;
  Tensor correction_LE = {}, language_T = {};  // as in route_forward(); REQUIRED where push is not 0
  double push = 0;
  double z = 0;
};
struct RouterLosses {
  double balance = 0, z = 0;  // the push is part of the first
};
// In the order of tokens.
RouterLosses router_losses(const Routing& routing, const RouterLossWeights& weights);

// Writes dlogits, of the gates' gradient and of the router's own losses. The choice has none. dlogits may be
// what logits were.
void route_backward(Tensor dlogits_TE, const Tensor& dgate_TK, const Routing& routing,
                    const RoutingRule& rule, const RouterLossWeights& weights, Stream& stream);

}  // namespace fern
