#include "framework/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  fs::path folder_ = fs::path(testing::TempDir()) / "safetensors";
  fs::path path_ = folder_ / "model.safetensors";
  std::vector<float> a_ = {1, 2, 3, 4, 5, 6};
  std::vector<float> b_ = {-1, 0.5f};

  void SetUp() override {
    create_folders(folder_);
    const NamedValues tensors[] = {{"b", {2}, b_}, {"a", {2, 3}, a_}};
    write_safetensors(path_, tensors, {{"format", "pt"}});
  }
  void TearDown() override { remove_tree(folder_); }

  std::string bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  // A file with this header and `data_bytes` zero bytes.
  void write_header(const std::string& header, size_t data_bytes) const {
    const uint64_t length = header.size();
    std::string all(8, '\0');
    std::memcpy(all.data(), &length, 8);
    write(all + header + std::string(data_bytes, '\0'));
  }
};

TEST_F(Safetensors, ReadsBackWhatWasWritten) {
  const SafetensorsFile file(path_);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.entries().at("a").shape, (std::vector<int64_t>{2, 3}));
  std::vector<float> a(6), b(2);
  file.read("a", a);
  file.read("b", b);
  EXPECT_EQ(a, a_);
  EXPECT_EQ(b, b_);
}

TEST_F(Safetensors, HeaderIsPaddedToEightBytes) {
  uint64_t length = 0;
  std::memcpy(&length, bytes().data(), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(bytes().size(), 8 + length + 32);
}

TEST_F(Safetensors, TruncationAtEveryLengthIsRefused) {
  const std::string whole = bytes();
  for (size_t length = 0; length < whole.size(); ++length) {
    write(whole.substr(0, length));
    EXPECT_THROW(SafetensorsFile{path_}, Error) << length;
  }
}

TEST_F(Safetensors, BytesThatNoTensorHasAreRefused) {
  write(bytes() + "x");
  EXPECT_THROW(SafetensorsFile{path_}, Error);
}

TEST_F(Safetensors, OffsetsThatDoNotFitTheShapeAreRefused) {
  write_header(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 64);
  EXPECT_THROW(SafetensorsFile{path_}, Error);
  write_header(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 64);
  EXPECT_THROW(SafetensorsFile{path_}, Error);
  write_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 64);
  EXPECT_THROW(SafetensorsFile{path_}, Error);
  write_header(R"({"a":{"dtype":"F32"}})", 64);
  EXPECT_THROW(SafetensorsFile{path_}, Error);
}

TEST_F(Safetensors, HalvesWidenExactly) {
  const uint16_t bf16[] = {0x3f80, 0xc000, 0x0001};
  const uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x0000, 0x7c00};
  const std::string header =
      R"({"b":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},"h":{"dtype":"F16","shape":[6],"data_offsets":[6,18]}})";
  write_header(header, 18);
  std::string all = bytes();
  std::memcpy(all.data() + 8 + header.size(), bf16, 6);
  std::memcpy(all.data() + 8 + header.size() + 6, f16, 12);
  write(all);
  const SafetensorsFile file(path_);
  std::vector<float> b(3), h(6);
  file.read("b", b);
  file.read("h", h);
  EXPECT_EQ(b, (std::vector<float>{1.0f, -2.0f, 0x1.0p-133f}));
  EXPECT_EQ(h, (std::vector<float>{1.0f, -2.0f, 0x1.0p-24f, 65504.0f, 0.0f,
                                   std::numeric_limits<float>::infinity()}));
}

TEST_F(Safetensors, AbsentTensorAndOtherTypesAreNamed) {
  write_header(R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", 8);
  const SafetensorsFile file(path_);
  std::vector<float> one(1);
  EXPECT_THROW(file.read("weights", one), Error);
  try {
    file.read("ids", one);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("I64"), std::string::npos);
  }
}

}  // namespace
}  // namespace fern
