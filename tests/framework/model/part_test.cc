// A model in parts, in one process: handing the residual stream from part to part gives the whole model's
// loss and gradients to the bit.
#include "framework/model/part.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "framework/core/error.h"
#include "tests/framework/model/test_model.h"

namespace fern {
namespace {

constexpr ModelConfig kConfig = {
    .vocabulary = 50, .layers = 3, .hidden = 24, .heads = 4, .kv_heads = 2, .ffn = 40, .context = 12};

// One part with its memory, for one shard of two micro-batches.
struct Part {
  Transformer model;
  std::unique_ptr<Transformer::Activations> passes[2];
  Arena parameters, activations;
  Stream stream;
  RecordingSink sink;

  Part(const ModelConfig& config, const ModelPart& part, const Transformer* values, int64_t tokens)
      : model(config, {part}),
        parameters(sized_arena("parameters",
                               [&](Arena& arena) {
                                 model.parameters().allocate(arena, wide_of(config.dtype));
                                 model.allocate_packed_weights(arena);
                               })),
        activations(sized_arena("activations", [&](Arena& arena) {
          model.allocate_embedding_sum(arena);
          model.allocate_embedding_copy(arena);
          passes[0] = model.allocate_activations(arena, tokens);
          passes[1] = model.allocate_activations(arena, tokens, model.is_last() ? nullptr : passes[0].get());
        })) {
    if (values == nullptr) {
      model.parameters().initialize(1);
      return;
    }
    for (size_t i = 0; i < model.parameters().list().size(); ++i) {
      const int there = values->parameters().find(model.parameters().list()[i].name);
      const Tensor from = values->parameters().value(there);
      std::memcpy(model.parameters().value(static_cast<int>(i)).data(), from.data(), from.bytes());
    }
    model.parameters().note_change();
  }
  double forward(int pass, const MicroBatch& batch) {
    std::vector<double> losses(static_cast<size_t>(batch.sequences));
    return model.forward(*passes[pass], losses, batch, stream);
  }
  void backward(int pass, const MicroBatch& batch) { model.backward(*passes[pass], batch, sink, stream); }
};

void copy(const Tensor& to, const Tensor& from) {
  ASSERT_EQ(to.bytes(), from.bytes());
  std::memcpy(to.data(), from.data(), from.bytes());
}

struct Variant {
  bool tied = false, recompute = false;
  DType dtype = DType::kF32;
};

class Parts : public testing::TestWithParam<Variant> {
 protected:
  static ModelConfig config() {
    ModelConfig config = kConfig;
    config.tie_embeddings = GetParam().tied;
    config.recompute = GetParam().recompute;
    config.dtype = GetParam().dtype;
    return config;
  }
};
INSTANTIATE_TEST_SUITE_P(Variants, Parts,
                         testing::Values(Variant{}, Variant{.tied = true}, Variant{.recompute = true},
                                         Variant{.tied = true, .recompute = true},
                                         Variant{.tied = true, .dtype = DType::kBF16}));

// Both micro-batches are in flight in the first parts, and one after the other in the last.
TEST_P(Parts, EqualTheWholeToTheBit) {
  const MicroBatch batches[] = {random_batch(50, 2, 12, 1), random_batch(50, 2, 12, 2)};
  Part whole(config(), {}, nullptr, 24);
  std::vector<double> expected;
  for (const MicroBatch& batch : batches) {
    expected.push_back(whole.forward(0, batch));
    whole.backward(0, batch);
  }
  whole.model.end_shard();

  std::vector<std::unique_ptr<Part>> parts;
  for (int64_t i = 0; i < 3; ++i)
    parts.push_back(std::make_unique<Part>(config(), ModelPart{i, i + 1}, &whole.model, 24));
  Part &first = *parts.front(), &last = *parts.back();
  if (GetParam().tied) copy(first.model.shared_embedding(), last.model.shared_embedding());
  const auto hand_on = [&](size_t to, int pass) {
    copy(parts[to]->model.input_of(*parts[to]->passes[pass]),
         parts[to - 1]->model.output_of(*parts[to - 1]->passes[pass]));
  };
  const auto hand_back = [&](size_t to, int pass) {
    copy(parts[to]->model.gradient_of(*parts[to]->passes[pass]),
         parts[to + 1]->model.gradient_of(*parts[to + 1]->passes[pass]));
  };
  for (int pass : {0, 1}) first.forward(pass, batches[pass]);
  for (int pass : {0, 1}) {
    hand_on(1, pass);
    parts[1]->forward(pass, batches[pass]);
  }
  std::vector<Tensor> embedded;
  std::vector<std::vector<std::byte>> memory;
  for (int pass : {0, 1}) {
    hand_on(2, pass);
    EXPECT_EQ(last.forward(pass, batches[pass]), expected[static_cast<size_t>(pass)]);
    last.backward(pass, batches[pass]);
    for (size_t part : {1, 0}) {
      hand_back(part, pass);
      parts[part]->backward(pass, batches[pass]);
    }
    const Tensor dx_TD = first.model.gradient_of(*first.passes[pass]);
    const auto* begin = static_cast<const std::byte*>(dx_TD.data());
    memory.emplace_back(begin, begin + dx_TD.bytes());
    embedded.emplace_back(memory.back().data(), dx_TD.dtype(), dx_TD.shape());
  }
  if (GetParam().tied)
    for (size_t pass : {0, 1}) {
      copy(last.model.gradient_of(*last.passes[0]), embedded[pass]);
      last.model.add_embedded(*last.passes[0], batches[pass], last.stream);
    }
  for (const auto& part : parts) part->model.end_shard();

  size_t compared = 0;
  for (const auto& part : parts)
    for (const Parameter& parameter : part->model.parameters().list()) {
      const Parameters &own = part->model.parameters(), &all = whole.model.parameters();
      EXPECT_EQ(to_doubles(own.gradient(own.find(parameter.name))),
                to_doubles(all.gradient(all.find(parameter.name))))
          << parameter.name;
      ++compared;
    }
  EXPECT_EQ(compared, whole.model.parameters().list().size());
}

TEST_P(Parts, BeginWithChunksOfTheWhole) {
  const Transformer whole(config());
  std::vector<int> covered(static_cast<size_t>(whole.parameters().padded_elements() / kParameterChunk));
  for (int64_t i = 0; i < 3; ++i) {
    const Transformer part(config(), {ModelPart{i, i + 1}});
    int64_t chunks = 0;
    for (const ChunkRun& run : chunks_in_whole(part.parameters(), whole.parameters())) {
      chunks += run.count;
      for (int64_t chunk = run.whole; chunk < run.whole + run.count; ++chunk)
        ++covered[static_cast<size_t>(chunk)];
    }
    EXPECT_EQ(chunks, part.parameters().padded_elements() / kParameterChunk);
  }
  EXPECT_EQ(covered, std::vector<int>(covered.size(), 1));
}

// Of tied embeddings the sum apart is the same gradient, in another order.
TEST(TiedEmbedding, SumsApartAreTheGradient) {
  const MicroBatch batch = random_batch(50, 2, 12, 1);
  TestModel at_once(kConfig);
  const std::vector<double> expected = at_once.gradient(batch);
  TestModel apart(kConfig);
  Arena arena = sized_arena("sum", [&](Arena& a) { apart.model.allocate_embedding_sum(a); });
  const std::vector<double> without = apart.gradient(batch);
  apart.model.end_shard();
  const std::vector<double> sum = to_doubles(apart.model.parameters().gradients());
  ASSERT_EQ(sum.size(), expected.size());
  for (size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(sum[i], expected[i], 1e-5) << i;
  EXPECT_NE(without, sum) << "the embedding's own part was not there before";
  EXPECT_EQ(std::ranges::count(apart.sink.names, "model.embed_tokens.weight"), 0);
}

TEST(ModelPart, WithoutALayerIsRefused) {
  EXPECT_THROW(Transformer(kConfig, {ModelPart{2, 2}}), Error);
  EXPECT_THROW(Transformer(kConfig, {ModelPart{3, 4}}), Error);
}

TEST(ModelPart, OfOneProcessAreInOrderAndApart) {
  EXPECT_THROW(Transformer(kConfig, {ModelPart{2, 3}, ModelPart{0, 1}}), Error);
  EXPECT_THROW(Transformer(kConfig, {ModelPart{0, 2}, ModelPart{1, 3}}), Error);
  const Transformer ends(kConfig, {ModelPart{0, 1}, ModelPart{2, 3}});
  EXPECT_TRUE(ends.is_first());
  EXPECT_TRUE(ends.is_last());
  EXPECT_LT(ends.parameters().find("model.layers.1.self_attn.q_proj.weight"), 0);
  const Transformer whole(kConfig);
  const std::vector<ChunkRun> chunks = chunks_in_whole(ends.parameters(), whole.parameters());
  int64_t count = 0;
  for (const ChunkRun& run : chunks) count += run.count;
  EXPECT_EQ(count, ends.parameters().padded_elements() / kParameterChunk);
  EXPECT_LT(count, whole.parameters().padded_elements() / kParameterChunk);
}

}  // namespace
}  // namespace fern
