// Exported folders of sparse models.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>

#include "framework/checkpoint/hugging_face.h"
#include "framework/checkpoint/reference_model.h"
#include "framework/checkpoint/tensor_hash.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/core/error.h"
#include "framework/core/files.h"
#include "framework/model/transformer.h"
#include "tests/framework/sparsity/random_pattern.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

const ModelConfig kConfig = {
    .vocabulary = 40, .layers = 2, .hidden = 16, .heads = 2, .kv_heads = 1, .ffn = 24, .context = 8};
constexpr const char* kName = "model.layers.1.mlp.up_proj.weight";

struct Model {
  explicit Model(std::vector<SparseRun> sparse) {
    transformer.parameters().set_patterns(std::move(sparse));
    arena = sized_arena("parameters", [&](Arena& a) {
      transformer.parameters().allocate(a, DType::kF32);
      transformer.allocate_packed_weights(a);
    });
  }
  Parameters& parameters() { return transformer.parameters(); }

  Transformer transformer{kConfig};
  Arena arena = Arena::measuring("none");
};

class SparseExport : public ::testing::Test {
 protected:
  void SetUp() override {
    remove_tree(folder_);
    create_folders(folder_);
    Transformer shapes(kConfig);
    for (const ParameterRun run : shapes.parameters().runs()) {
      const Shape shape = shapes.parameters().shape_of(run);
      const BlockShape block = sparse_.size() % 2 == 0 ? BlockShape{} : BlockShape{4, 4};
      if (shape[0] != kConfig.vocabulary) sparse_.push_back({run, testing_pattern(shape, block)});
    }
    model_ = std::make_unique<Model>(sparse_);
    model_->parameters().initialize(5);
  }
  void TearDown() override { remove_tree(folder_); }

  Pattern testing_pattern(const Shape& shape, BlockShape block) const {
    return testing::random_pattern(shape[0], shape[1], block, 0.3, sparse_.size());
  }
  void write(uint64_t max_file_bytes = uint64_t{1} << 30) {
    write_hugging_face(folder_, kConfig, model_->parameters(),
                       {.stop_ids = {2}, .max_file_bytes = max_file_bytes});
  }
  std::unique_ptr<Model> read() const {
    const Transformer shapes(kConfig);
    auto copy = std::make_unique<Model>(read_hugging_face_patterns(folder_, shapes.parameters()));
    read_hugging_face_weights(folder_, copy->parameters());
    return copy;
  }
  // Changes the header of the only safetensors file.
  void edit(const std::function<void(nlohmann::json&)>& change) const {
    const fs::path path = folder_ / "model.safetensors";
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    nlohmann::json header = nlohmann::json::parse(bytes.substr(sizeof length, length));
    change(header);
    const std::string text = header.dump();
    const uint64_t now = text.size();
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&now), sizeof now);
    out << text << bytes.substr(sizeof length + length);
  }
  void edit_sparsity(const std::function<void(nlohmann::json&)>& change) const {
    edit([&](nlohmann::json& header) {
      nlohmann::json sparsity =
          nlohmann::json::parse(header["__metadata__"]["fern_sparsity"].get<std::string>());
      change(sparsity);
      header["__metadata__"]["fern_sparsity"] = sparsity.dump();
    });
  }
  void expect_refused(const std::vector<std::string>& words) const {
    try {
      read();
      FAIL() << "expected an error";
    } catch (const Error& error) {
      for (const std::string& word : words)
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }

  fs::path folder_ = fs::path(::testing::TempDir()) / "sparse_export";
  std::vector<SparseRun> sparse_;
  std::unique_ptr<Model> model_;
};

TEST_F(SparseExport, PatternsAndWeightsComeBackAlsoFromManyFiles) {
  for (const uint64_t max_file_bytes : {uint64_t{1} << 30, uint64_t{2000}}) {
    write(max_file_bytes);
    const auto copy = read();
    EXPECT_EQ(topology_hash(copy->parameters()), topology_hash(model_->parameters()));
    EXPECT_EQ(weights_hash(copy->parameters()), weights_hash(model_->parameters()));
  }
}

TEST_F(SparseExport, AWeightThatIsZeroStillExists) {
  const int index = model_->parameters().find(kName);
  std::ranges::fill(model_->parameters().value(index).values<float>().first(3), 0.0F);
  write();
  const auto copy = read();
  EXPECT_EQ(topology_hash(copy->parameters()), topology_hash(model_->parameters()));
  EXPECT_EQ(weights_hash(copy->parameters()), weights_hash(model_->parameters()));
}

TEST_F(SparseExport, OtherReadersFindZerosWhereNoWeightExists) {
  write();
  Model dense({});
  read_hugging_face_weights(folder_, dense.parameters());
  for (size_t i = 0; i < dense.parameters().list().size(); ++i) {
    const auto values = dense.parameters().value(static_cast<int>(i)).values<float>();
    EXPECT_EQ(std::ranges::count_if(values, [](float value) { return value != 0; }),
              model_->parameters().list()[i].nonzeros);
  }
}

TEST_F(SparseExport, ReferenceGivesTheSameLogits) {
  for (float& value : model_->parameters().values().values<float>()) value *= 8;
  write();
  const std::vector<int32_t> tokens = {1, 7, 39, 0, 7, 12};
  Stream stream;
  const std::vector<float> ours = model_->transformer.logits(tokens, stream);
  const std::vector<double> reference = ReferenceModel(folder_).logits(tokens);
  ASSERT_EQ(ours.size(), reference.size());
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], reference[i], 1e-4);
}

TEST_F(SparseExport, AValueWithoutAWeightIsRefused) {
  write();
  edit([](nlohmann::json& header) {  // the other tensor of this shape in its place
    std::swap(header[kName]["data_offsets"], header["model.layers.0.mlp.up_proj.weight"]["data_offsets"]);
  });
  expect_refused({"where no weight exists", "up_proj.weight", "row", "column"});
}

TEST_F(SparseExport, AWrongCountIsRefused) {
  write();
  edit_sparsity([](nlohmann::json& sparsity) {
    auto& entry = sparsity[kName];
    entry["nonzeros"] = entry["nonzeros"].get<int64_t>() / 2;
    entry["density"] = entry["nonzeros"].get<double>() / static_cast<double>(kConfig.ffn * kConfig.hidden);
  });
  expect_refused({"declares", kName, "density"});
}

TEST_F(SparseExport, AWrongDensityIsRefused) {
  write();
  edit_sparsity([](nlohmann::json& sparsity) { sparsity[kName]["density"] = 0.25; });
  expect_refused({"declares density 0.25", kName});
}

TEST_F(SparseExport, AWrongHashIsRefused) {
  write();
  edit([](nlohmann::json& header) { header["__metadata__"]["fern_topology_hash"] = std::string(32, '0'); });
  expect_refused({"expected topology hash 0000"});
}

TEST_F(SparseExport, AMissingTopologyIsNamed) {
  write();
  fs::remove(folder_ / "topology.h5");
  expect_refused({"topology.h5", "missing"});
}

TEST_F(SparseExport, ADenseFolderDeclaresNoPatterns) {
  Model dense({});
  dense.parameters().initialize(5);
  write_hugging_face(folder_, kConfig, dense.parameters(), {});
  EXPECT_FALSE(fs::exists(folder_ / "topology.h5"));
  EXPECT_TRUE(read_hugging_face_patterns(folder_, dense.parameters()).empty());
}

}  // namespace
}  // namespace fern
