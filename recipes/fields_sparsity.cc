#include "recipes/fields.h"

namespace fern {

namespace {

template <size_t kCount>
std::vector<std::string_view> names_in(const std::array<std::string_view, kCount>& names) {
  return {names.begin(), names.end()};
}

std::vector<Field> what_exists() {
  return {
      {.key = "sparsity.method",
       .place = [](Recipe& r) -> Place { return choice(r.sparsity.method); },
       .meaning =
           "Which weights exist, and how that changes: dense (all), static (drawn at random, kept), set "
           "(the smallest go, others come at random), rigl (those with the largest gradients come), srigl "
           "(the same with constant fan-in and neurons that may go), gradual (dense at first, pruned by "
           "magnitude along a cubic), magnitude and random (pruned once). Weights that do not exist take "
           "neither memory nor time.",
       .names = names_in(kMethodNames)},
      {.key = "sparsity.pattern",
       .place = [](Recipe& r) -> Place { return choice(r.sparsity.pattern); },
       .meaning =
           "Which weights may exist together: unstructured (any), block (square blocks), fan_in (as many "
           "in each row), n_of_m (n of every m neighbours in a row), butterfly (a fixed flat block "
           "butterfly).",
       .names = names_in(kPatternNames)},
      {.key = "sparsity.block",
       .place = [](Recipe& r) -> Place { return &r.sparsity.block; },
       .meaning =
           "Side of a block, for patterns block and butterfly. Divides the sides of every sparse weight, and "
           "with parallel.tensor those of each rank's share of it.",
       .unit = "weights",
       .raising = "faster products; a coarser choice of weights",
       .least = 1,
       .most = 1024},
      {.key = "sparsity.n",
       .place = [](Recipe& r) -> Place { return &r.sparsity.n; },
       .meaning = "Weights that exist of every sparsity.m neighbours, for pattern n_of_m.",
       .raising = "more weights",
       .least = 1,
       .most = 1024},
      {.key = "sparsity.m",
       .place = [](Recipe& r) -> Place { return &r.sparsity.m; },
       .meaning = "Neighbours in a row of which sparsity.n exist, for pattern n_of_m. Divides each rank's "
                  "columns with parallel.tensor.",
       .raising = "fewer weights, more freely placed",
       .least = 1,
       .most = 1024},
      {.key = "sparsity.sparsity",
       .place = [](Recipe& r) -> Place { return &r.sparsity.sparsity; },
       .meaning =
           "Share of the weights of all sparse matrices that do not exist (in the end, for methods that "
           "prune). 0.9 leaves a tenth.",
       .raising = "less memory and time; a worse fit at the same width",
       .least = 0},
      {.key = "sparsity.distribution",
       .place = [](Recipe& r) -> Place { return choice(r.sparsity.distribution); },
       .meaning =
           "How the weights that exist are shared out over matrices: uniform (equal density), erdos_renyi "
           "(density in proportion to (rows + columns) / (rows x columns): small matrices stay denser). "
           "For matrices erdos_renyi_kernel is the same.",
       .names = names_in(kDistributionNames)},
      {.key = "sparsity.layers",
       .place = [](Recipe& r) -> Place {
         return WeightsPlace{&r.sparsity.layer_names, &r.sparsity.layer_sparsities};
       },
       .meaning =
           "Sparsities of their own for some matrices, as {\"layers.0\" = 0.5, q_proj = 0.8}: the first "
           "name that is part of the parameter's name counts. The others share sparsity.sparsity."},
      {.key = "sparsity.topology",
       .place = [](Recipe& r) -> Place { return &r.topology; },
       .meaning =
           "Whose patterns training starts from, in place of sparsity.sparsity, layers and distribution: a "
           "sparse run or checkpoint; for static, set, rigl, srigl. Weights are random, or those of "
           "model.weights: an early checkpoint of the same run rewinds it (lottery tickets)."},
      {.key = "sparsity.attention",
       .place = [](Recipe& r) -> Place { return &r.sparsity.attention; },
       .meaning = "Make the projections of attention sparse."},
      {.key = "sparsity.feed_forward",
       .place = [](Recipe& r) -> Place { return &r.sparsity.feed_forward; },
       .meaning = "Make the feed-forward's matrices sparse."},
      {.key = "sparsity.embedding",
       .place = [](Recipe& r) -> Place { return &r.sparsity.embedding; },
       .meaning =
           "Make the embedding sparse; with model.tie_embeddings = true the output head too, which is the "
           "same matrix; then not with parallel.pipeline above 1."},
      {.key = "sparsity.head",
       .place = [](Recipe& r) -> Place { return &r.sparsity.head; },
       .meaning = "Make the output head sparse; needs model.tie_embeddings = false or sparsity.embedding."},
  };
}

std::vector<Field> how_it_changes() {
  return {
      {.key = "sparsity.interval",
       .place = [](Recipe& r) -> Place { return &r.sparsity.interval; },
       .meaning = "Steps between two topology updates: set, rigl, srigl, gradual.",
       .unit = "steps",
       .raising = "weights have longer to prove themselves; fewer are tried",
       .least = 1},
      {.key = "sparsity.drop_fraction",
       .place = [](Recipe& r) -> Place { return &r.sparsity.drop_fraction; },
       .meaning = "Share of the existing weights that the first update replaces: set, rigl, srigl.",
       .raising = "more weights are tried; the loss jumps more at an update",
       .least = 0,
       .most = 1},
      {.key = "sparsity.drop_decay",
       .place = [](Recipe& r) -> Place { return choice(r.sparsity.drop_decay); },
       .meaning = "Course of the drop fraction until sparsity.stop.",
       .names = names_in(kDropDecayNames)},
      {.key = "sparsity.stop",
       .place = [](Recipe& r) -> Place { return &r.sparsity.stop; },
       .meaning = "Share of the run after which the topology stays: set, rigl, srigl.",
       .raising = "weights are replaced for longer, and settle for less",
       .most = 1},
      {.key = "sparsity.scoring_steps",
       .place = [](Recipe& r) -> Place { return &r.sparsity.scoring_steps; },
       .meaning =
           "Steps before an update over which the dense gradient is looked at, a part of the rows in each: "
           "rigl, srigl. No rank ever holds more of it than one part.",
       .unit = "steps",
       .raising = "less memory; scores are older by up to as many steps",
       .least = 1},
      {.key = "sparsity.ablation",
       .place = [](Recipe& r) -> Place { return &r.sparsity.ablation; },
       .meaning = "A neuron with a smaller share of salient weights than this goes: srigl.",
       .raising = "fewer, fuller neurons",
       .most = 1},
      {.key = "sparsity.initial_sparsity",
       .place = [](Recipe& r) -> Place { return &r.sparsity.initial_sparsity; },
       .meaning = "Sparsity that gradual pruning begins with.",
       .raising = "less memory and time at first",
       .most = 1},
      {.key = "sparsity.begin",
       .place = [](Recipe& r) -> Place { return &r.sparsity.begin; },
       .meaning = "Share of the run at which gradual pruning begins.",
       .raising = "a longer dense start",
       .most = 1},
      {.key = "sparsity.end",
       .place = [](Recipe& r) -> Place { return &r.sparsity.end; },
       .meaning =
           "Share of the run at which gradual pruning has arrived, and at which magnitude and random prune.",
       .raising = "gentler pruning, less time to recover",
       .most = 1},
      {.key = "sparsity.global",
       .place = [](Recipe& r) -> Place { return &r.sparsity.global; },
       .meaning =
           "Drop, grow and prune across all matrices instead of in each: matrices end with densities of "
           "their own. Not with parallel.pipeline, parallel.tensor or parallel.expert above 1, whose ranks "
           "have some of them."},
  };
}

}  // namespace

std::vector<Field> sparsity_fields() {
  std::vector<Field> all = what_exists();
  for (Field& field : how_it_changes()) all.push_back(std::move(field));
  return all;
}

}  // namespace fern
