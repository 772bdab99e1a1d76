// Sparse upcycling: a model with experts begins as a dense one (Komatsuzaki et al. 2022, "Sparse upcycling:
// training mixture-of-experts from dense checkpoints", section 3). Every expert begins as a copy of its
// layer's feed-forward, the router with initial values of its own; all else is the dense model's. Copies are
// equal, so a token's output is the sum of its gates times what the dense feed-forward gives: where gates sum
// to 1 (RouterKind::kMixtral) and no token is dropped, the model begins as the dense one.
#pragma once

#include <string>

#include "framework/model/config.h"
#include "framework/model/parameters.h"

namespace fern {

// The dense model's parameter that one of a model with experts begins as: of w1, w3 and w2 of an expert
// gate_proj, up_proj and down_proj of its layer's feed-forward, else that of its own name.
std::string dense_name(const std::string& name);

// Parameters of `to` take the values that they begin with in `from`, the dense model, 0 where no weight
// exists there; routers keep theirs. REQUIRES: f32 parameters; `from` has the layers and sizes of `to`, and
// experts as wide as its feed-forwards.
void upcycle(Parameters& to, const Parameters& from);

// Of the share of the dense feed-forward's output that a layer of `config` begins with: why it is less than
// all of it, naming the key; "" where it is all.
std::string why_less_than_dense(const ModelConfig& config);

// Errors (kBadUsage): experts of `config` that cannot begin as copies: of another width than model.ffn, or
// beside shared ones, whose output would come on top.
void expect_upcyclable(const ModelConfig& config);

}  // namespace fern
