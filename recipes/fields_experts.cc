#include "recipes/fields.h"

namespace fern {

namespace {

std::vector<Field> expert_sizes() {
  return {
      {.key = "model.experts.count",
       .place = [](Recipe& r) -> Place { return &r.model.experts.count; },
       .meaning =
           "Experts in a layer: feed-forwards of which each token uses a few. 0: every layer has one dense "
           "feed-forward.",
       .raising = "more parameters and memory at the same time per token",
       .most = 4096},
      {.key = "model.experts.active",
       .place = [](Recipe& r) -> Place { return &r.model.experts.active; },
       .meaning = "Experts that a token goes to.",
       .raising = "a better fit; time grows in proportion",
       .least = 1,
       .most = 4096},
      {.key = "model.experts.ffn",
       .place = [](Recipe& r) -> Place { return &r.model.experts.ffn; },
       .meaning = "Inner width of one expert; 0: model.ffn.",
       .raising = "a better fit; parameters and time grow in proportion",
       .most = 1 << 20},
      {.key = "model.experts.shared",
       .place = [](Recipe& r) -> Place { return &r.model.experts.shared; },
       .meaning = "Experts that every token goes to besides, as one feed-forward of so many times the width.",
       .raising = "what all tokens need has a place of its own; time grows",
       .most = 4096},
      {.key = "model.experts.every",
       .place = [](Recipe& r) -> Place { return &r.model.experts.every; },
       .meaning = "Every so manieth layer has experts, the last of each group; the others have dense "
                  "feed-forwards. 1: all have.",
       .unit = "layers",
       .raising = "fewer parameters",
       .least = 1,
       .most = 1024},
  };
}

std::vector<Field> expert_routing() {
  return {
      {.key = "model.experts.router",
       .place = [](Recipe& r) -> Place { return choice(r.model.experts.router); },
       .meaning =
           "What the outputs of a token's experts are weighed with: their probabilities divided by their sum "
           "(mixtral) or as they are (switch). The probabilities are a softmax over all experts, in f32.",
       .names = {kRouterNames.begin(), kRouterNames.end()}},
      {.key = "model.experts.capacity_factor",
       .place = [](Recipe& r) -> Place { return &r.model.experts.capacity_factor; },
       .meaning =
           "An expert takes at most this many times its even share of a micro-batch's (token, choice) pairs; "
           "later ones are dropped, and counted. 0: none is dropped; well below 1 some always are.",
       .raising = "fewer are dropped"},
      {.key = "model.experts.balance_loss",
       .place = [](Recipe& r) -> Place { return &r.model.experts.balance_loss; },
       .meaning =
           "Weight of the balance loss: experts x the sum over experts of the share of tokens they got in "
           "the "
           "step before and their mean probability over this step's whole batch. It is the same for every "
           "batch.micro_sequences. 0.01 is usual; 0: none.",
       .raising = "experts are used more evenly, at some cost to the loss"},
      {.key = "model.experts.z_loss",
       .place = [](Recipe& r) -> Place { return &r.model.experts.z_loss; },
       .meaning =
           "Weight of the z-loss, the mean of logsumexp(router logits)^2 over the batch: keeps logits small. "
           "0.001 is usual; 0: none.",
       .raising = "smaller logits, steadier routing"},
      {.key = "model.experts.bias_rate",
       .place = [](Recipe& r) -> Place { return &r.model.experts.bias_rate; },
       .meaning =
           "Balances without a loss: after each step an expert that got less than the mean competes with so "
           "much more probability, one that got more with so much less. 0.001 is usual; 0: off.",
       .raising = "evenness is reached sooner, and held less calmly"},
  };
}

std::vector<Field> expert_telemetry() {
  return {
      {.key = "model.experts.log_every",
       .place = [](Recipe& r) -> Place { return &r.train.experts.log_every; },
       .meaning =
           "Steps whose routing metrics.jsonl tells together, by layer, language and expert; languages whose "
           "routing has collapsed are named then.",
       .unit = "steps",
       .raising = "steadier figures, collapse is noticed later",
       .least = 1},
      {.key = "model.experts.correct_collapse",
       .place = [](Recipe& r) -> Place { return &r.train.experts.correct_collapse; },
       .meaning = "Give languages whose routing has collapsed, all of their tokens on the same few experts, "
                  "a bias of "
                  "their own in training towards the others, until it has recovered; then it fades."},
  };
}

}  // namespace

std::vector<Field> expert_fields() {
  std::vector<Field> all = expert_sizes();
  for (Field& field : expert_routing()) all.push_back(std::move(field));
  for (Field& field : expert_telemetry()) all.push_back(std::move(field));
  return all;
}

}  // namespace fern
