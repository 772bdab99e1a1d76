#include "parallel/bucket_layers.h"

#include <gtest/gtest.h>

namespace fern {
namespace {

std::vector<Parameter> parameters() {
  std::vector<Parameter> list;
  int64_t offset = 0;
  for (const char* name :
       {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
        "model.layers.1.mlp.up_proj.weight", "model.layers.10.mlp.up_proj.weight", "model.norm.weight"}) {
    list.push_back({.name = name, .shape = {}, .offset = offset, .nonzeros = 100});
    offset += 100;
  }
  return list;
}

TEST(BucketLayers, AreThoseOfItsParameters) {
  EXPECT_EQ(layers_in({150, 301}, parameters()), (LayerRange{0, 10}));
  EXPECT_EQ(layers_in({200, 300}, parameters()), (LayerRange{1, 1}));
  EXPECT_EQ(layers_in({400, 512}, parameters()), LayerRange{});
  EXPECT_EQ(layers_in({0, 100}, parameters()), LayerRange{});
}

}  // namespace
}  // namespace fern
