// Checkpoints of sparse models.
#include "framework/checkpoint/topology_file.h"

#include "framework/model/transformer.h"
#include "tests/framework/checkpoint/fixture.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

const ModelConfig kConfig = {
    .vocabulary = 40, .layers = 1, .hidden = 16, .heads = 2, .kv_heads = 1, .ffn = 24, .context = 8};

struct SparseModel {
  Transformer model{kConfig};
  Arena arena = take();

  Arena take() {
    Parameters& parameters = model.parameters();
    std::vector<SparseRun> sparse;
    for (const ParameterRun run : parameters.runs()) {
      const Shape shape = parameters.shape_of(run);
      if (shape[0] != kConfig.vocabulary)
        sparse.push_back({run, testing::random_pattern(shape[0], shape[1], {}, 0.3, sparse.size())});
    }
    parameters.set_patterns(std::move(sparse));
    return sized_arena("parameters", [&](Arena& a) { parameters.allocate(a, DType::kF32); });
  }
  Parameters& parameters() { return model.parameters(); }
  // With ages, and scores for one weight.
  CheckpointContents contents() {
    CheckpointContents contents{.parameters = parameters(),
                                .first_moment = {},
                                .second_moment = {},
                                .manifest = {},
                                .ledger = nullptr,
                                .tokenizer_model = {}};
    contents.manifest.step = 7;
    contents.manifest.updates = 300;
    contents.topology.ages.births = {0, 100, 200};
    contents.topology.ages.generation.resize(static_cast<size_t>(parameters().padded_elements()));
    for (const Parameter& parameter : parameters().list())
      for (int64_t i = 0; parameter.sparse && i < parameter.nonzeros; ++i)
        contents.topology.ages.generation[static_cast<size_t>(parameter.offset + i)] =
            static_cast<uint16_t>(i % 3);
    contents.topology.ever_active = {{"model.layers.0.mlp.up_proj.weight", {~uint64_t{0}, 3}}};
    contents.topology.scores = {{"model.layers.0.mlp.up_proj.weight", {~uint64_t{0}, 5, 0}}};
    return contents;
  }
};

fs::path saved(SparseModel& model, const std::string& name) {
  model.parameters().initialize(3);
  return save_checkpoint(fresh_folder(name), model.contents());
}

// What reading the ages of a checkpoint with these contents is refused with.
std::string refusal(SparseModel& model, const CheckpointContents& contents) {
  model.parameters().initialize(3);
  const fs::path checkpoint = save_checkpoint(fresh_folder("topology-ages"), contents);
  return error_of([&] { read_topology_memory(checkpoint, read_manifest(checkpoint), model.parameters()); });
}

TEST(TopologyFile, PatternsAndValuesComeBack) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-round");
  const Manifest manifest = read_manifest(checkpoint);
  EXPECT_EQ(manifest.nonzeros, model.parameters().elements());
  EXPECT_EQ(manifest.parameters, model.parameters().dense_elements());
  Transformer loaded(kConfig);
  loaded.parameters().set_patterns(read_patterns(checkpoint, manifest, loaded.parameters()));
  const Arena arena =
      sized_arena("parameters", [&](Arena& a) { loaded.parameters().allocate(a, DType::kF32); });
  load_checkpoint(checkpoint, manifest, loaded.parameters(), {}, {});
  EXPECT_EQ(topology_hash(loaded.parameters()), manifest.topology_hash);
  EXPECT_EQ(weights_hash(loaded.parameters()), weights_hash(model.parameters()));
  for (const auto& [run, pattern] : model.parameters().sparse_runs())
    EXPECT_EQ(*loaded.parameters().pattern_of(run), pattern);
}

TEST(TopologyFile, AgesAndScoresComeBack) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-memory");
  const TopologyMemory memory =
      read_topology_memory(checkpoint, read_manifest(checkpoint), model.parameters());
  EXPECT_EQ(memory.ages.births, model.contents().topology.ages.births);
  EXPECT_EQ(memory.ever_active, model.contents().topology.ever_active);
  EXPECT_EQ(memory.ages.generation, model.contents().topology.ages.generation);
  EXPECT_EQ(memory.scores, model.contents().topology.scores);
}

TEST(TopologyFile, RefusesBirthsAfterItsLastUpdate) {
  SparseModel model;
  CheckpointContents contents = model.contents();
  contents.manifest.updates = 199;
  EXPECT_NE(refusal(model, contents).find("at most its 199 updates"), std::string::npos);
}

TEST(TopologyFile, RefusesBirthsThatDoNotAscend) {
  SparseModel model;
  CheckpointContents contents = model.contents();
  contents.topology.ages.births = {0, 200, 100};
  EXPECT_NE(refusal(model, contents).find("to ascend from 0"), std::string::npos);
}

TEST(TopologyFile, RefusesGenerationsWithoutABirth) {
  SparseModel model;
  CheckpointContents contents = model.contents();
  contents.topology.ages.births = {0, 100};
  EXPECT_NE(refusal(model, contents).find("from 0 to 1, got 2"), std::string::npos);
}

TEST(TopologyFile, ABlockThatIsNotThePatternsNamesTheWeight) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-block");
  Manifest manifest = read_manifest(checkpoint);
  manifest.sparsity["model.layers.0.mlp.up_proj.weight"]["block"] = {4, 4};
  const std::string error = error_of([&] { read_patterns(checkpoint, manifest, model.parameters()); });
  EXPECT_NE(error.find("topology-block"), std::string::npos) << error;
  EXPECT_NE(error.find("pattern of model.layers.0.mlp.up_proj.weight is damaged"), std::string::npos)
      << error;
}

TEST(TopologyFile, OnlyWeightsThatExistAreStored) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-size");
  const auto bytes = static_cast<int64_t>(fs::file_size(checkpoint / "weights.h5"));
  EXPECT_LT(bytes, model.parameters().elements() * 4 + 16384);
}

TEST(TopologyFile, RefusesADensityThatIsNotDeclared) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-density");
  Manifest manifest = read_manifest(checkpoint);
  manifest.sparsity["model.layers.0.mlp.up_proj.weight"]["nonzeros"] = 3;
  EXPECT_NE(error_of([&] {
              read_patterns(checkpoint, manifest, model.parameters());
            }).find("declares 3 non-zeros of model.layers.0.mlp.up_proj.weight"),
            std::string::npos);
}

TEST(TopologyFile, RefusesAnotherTopologyHash) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-hash");
  Manifest manifest = read_manifest(checkpoint);
  manifest.topology_hash[0] = manifest.topology_hash[0] == '0' ? '1' : '0';
  EXPECT_NE(error_of([&] {
              read_patterns(checkpoint, manifest, model.parameters());
            }).find("expected topology hash"),
            std::string::npos);
}

TEST(TopologyFile, RefusesDensitiesWithoutATopologyHash) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-no-hash");
  Manifest manifest = read_manifest(checkpoint);
  manifest.topology_hash.clear();
  EXPECT_NE(error_of([&] {
              read_patterns(checkpoint, manifest, model.parameters());
            }).find("expected both a topology hash and densities"),
            std::string::npos);
}

TEST(TopologyFile, AFlippedByteIsFound) {
  SparseModel model;
  const fs::path checkpoint = saved(model, "topology-flip");
  const fs::path path = checkpoint / "topology.h5";
  const std::string bytes = bytes_of(path);
  write_byte(path, bytes.size() / 2, static_cast<char>(bytes[bytes.size() / 2] ^ 1));
  EXPECT_THROW(verify_checkpoint(checkpoint), Error);
}

TEST(TopologyFile, DenseCheckpointsKeepTheirFormat) {
  SmallModel model;
  const fs::path checkpoint = save_checkpoint(fresh_folder("topology-dense"), model.contents(3));
  EXPECT_EQ(read_manifest(checkpoint).format, 1);
  EXPECT_FALSE(fs::exists(checkpoint / "topology.h5"));
}

}  // namespace
}  // namespace fern
