#include "recipes/fields.h"

namespace fern {

namespace {

std::vector<Field> model_sizes() {
  return {
      {.key = "model.layers",
       .place = [](Recipe& r) -> Place { return &r.model.layers; },
       .meaning = "Decoder blocks, one after the other.",
       .raising = "a better fit; parameters, memory and time grow in proportion",
       .least = 1,
       .most = 1024,
       .required = true},
      {.key = "model.hidden",
       .place = [](Recipe& r) -> Place { return &r.model.hidden; },
       .meaning = "Width of the residual stream: values that stand for one token between blocks.",
       .raising = "a better fit; parameters and time grow with its square",
       .least = 2,
       .most = 65536,
       .required = true},
      {.key = "model.heads",
       .place = [](Recipe& r) -> Place { return &r.model.heads; },
       .meaning =
           "Query heads of attention. Unless model.head_dim is given, it divides model.hidden, and hidden / "
           "heads is even.",
       .raising = "more, narrower views of the context; the cost hardly changes",
       .least = 1,
       .most = 1024,
       .required = true},
      {.key = "model.kv_heads",
       .place = [](Recipe& r) -> Place { return &r.model.kv_heads; },
       .meaning =
           "Key and value heads, each shared by heads / kv_heads query heads (grouped-query attention).",
       .raising = "a slightly better fit; the key-value cache of generation grows in proportion",
       .least = 1,
       .most = 1024,
       .required = true},
      {.key = "model.head_dim",
       .place = [](Recipe& r) -> Place { return &r.model.head_dim; },
       .meaning = "Size of a head, even; 0: model.hidden / model.heads.",
       .raising =
           "heads see more; attention's parameters and time, and the key-value cache, grow in proportion",
       .least = 0,
       .most = 65536},
      {.key = "model.ffn",
       .place = [](Recipe& r) -> Place { return &r.model.ffn; },
       .meaning = "Inner width of the SwiGLU feed-forward; about 8/3 of hidden is usual.",
       .raising = "a better fit; parameters and time grow in proportion",
       .least = 1,
       .most = 1 << 20,
       .required = true},
      {.key = "model.context",
       .place = [](Recipe& r) -> Place { return &r.model.context; },
       .meaning = "Length of a packed sequence: the longest document the model sees whole.",
       .unit = "tokens",
       .raising = "longer documents fit; attention's time per token and the memory of activations grow",
       .least = 8,
       .most = 1 << 20,
       .required = true},
  };
}

std::vector<Field> model_choices() {
  return {
      {.key = "model.weights",
       .place = [](Recipe& r) -> Place { return &r.weights; },
       .meaning =
           "Whose weights training starts from, at step 0: a run, a checkpoint, or a folder of fern import, "
           "prune or densify, with this recipe's sizes and tokenizer; empty: random. Under [sparsity] a "
           "sparse one keeps its patterns, a dense one is pruned by magnitude to where the method begins; "
           "without, a sparse one becomes dense, with zeros. Where it has no experts and this recipe has, "
           "each begins as a copy of its layer's feed-forward."},
      {.key = "model.dtype",
       .place = [](Recipe& r) -> Place { return choice(r.model.dtype); },
       .meaning = "Element type of activations and products; sums are f32, and so are weights, gradients and "
                  "AdamW's moments. bf16 halves the activations' memory, and is about 1.6 times as fast on "
                  "processors that have it (AVX-512 BF16, AMX); others emulate it slowly.",
       .names = {"f32", "bf16"}},
      {.key = "model.tie_embeddings",
       .place = [](Recipe& r) -> Place { return &r.model.tie_embeddings; },
       .meaning = "Use the embedding as the output head too: vocabulary x hidden parameters fewer, "
                  "which is most of a small model."},
      {.key = "model.rope_theta",
       .place = [](Recipe& r) -> Place { return &r.model.rope_theta; },
       .meaning = "Base of the rotary position angles.",
       .raising = "positions far apart stay distinguishable; for long contexts",
       .least = 1},
      {.key = "model.norm_epsilon",
       .place = [](Recipe& r) -> Place { return &r.model.norm_epsilon; },
       .meaning = "Added to the mean square in RMSNorm.",
       .raising = "steadier numbers for tiny activations, a slight bias for all",
       .least = 1e-12,
       .most = 1},
      {.key = "model.qk_norm",
       .place = [](Recipe& r) -> Place { return &r.model.qk_norm; },
       .meaning =
           "RMSNorm of each head's queries and keys before they are rotated, with a gain for all query "
           "heads of a layer and one for all key heads, as Qwen3 has it: scores of attention keep their "
           "size, so training bears a higher learning rate. Such a model is exported as Qwen3, or with "
           "experts as Qwen3-MoE."},
      {.key = "model.recompute",
       .place = [](Recipe& r) -> Place { return &r.model.recompute; },
       .meaning =
           "Recompute a block's inner activations in backward instead of keeping them: far less memory "
           "for about a third more time. The result is the same to the bit."},
  };
}

}  // namespace

std::vector<Field> model_fields() {
  std::vector<Field> all = model_sizes();
  for (Field& field : model_choices()) all.push_back(std::move(field));
  all.push_back(
      {.key = "tokenizer.vocabulary",
       .place = [](Recipe& r) -> Place { return &r.tokenizer.vocabulary; },
       .meaning = "Pieces of the tokenizer, special and byte pieces counted; the rows of the embedding.",
       .unit = "pieces",
       .raising = "fewer tokens per word, most of all for rare languages; a larger embedding and head",
       .least = 300,
       .most = 1 << 20});
  all.push_back({.key = "tokenizer.character_coverage",
                 .place = [](Recipe& r) -> Place { return &r.tokenizer.character_coverage; },
                 .meaning = "Share of the text's characters that get a piece; the rest is spelled in bytes.",
                 .raising = "rarer characters get pieces of their own, from the same vocabulary",
                 .least = 0.98,
                 .most = 1});
  return all;
}

}  // namespace fern
