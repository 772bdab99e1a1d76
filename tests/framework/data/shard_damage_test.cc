// Every way a shard can be wrong is refused with what was expected and what to do.
#include <gtest/gtest.h>

#include <algorithm>

#include "framework/core/hash.h"
#include "framework/core/hdf5_file.h"
#include "framework/data/shard.h"
#include "framework/data/shard_format.h"
#include "tests/framework/data/fixture.h"

namespace fern {
namespace {

using namespace testing_data;

// Everything that reading a shard can give.
std::string contents(const Shard& shard) {
  std::string all = shard.header().language + shard.header().source + shard.header().split +
                    shard.header().tokenizer_sha256 +
                    fmt::format("{} {}", shard.header().vocabulary, shard.header().context);
  for (int64_t s = 0; s < shard.sequences(); ++s) {
    const PackedSequence sequence = shard.sequence(s);
    const SequenceCounts counts = shard.sequence_counts(s);
    all +=
        fmt::format("{} {} {} {} {} {} {}", fmt::join(sequence.tokens, " "), fmt::join(sequence.loss, " "),
                    fmt::join(sequence.document_offsets, " "), fmt::join(sequence.document_loss_bytes, " "),
                    counts.loss_tokens, counts.loss_documents, counts.bytes);
  }
  for (int64_t d = 0; d < shard.documents(); ++d) all += shard.document_text(d);
  return all;
}

class ShardDamage : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fresh_folder("damage") / "sw.gettext.h5";
    write_shard(path_, header_for("sw"), random_documents(12, 16, 3));
    bytes_ = bytes_of(path_);
  }
  std::string refusal() const {
    return error_of([&] { Shard(path_).verify(); });
  }
  std::filesystem::path path_;
  std::string bytes_;
};

TEST_F(ShardDamage, IntactShardVerifies) { EXPECT_EQ(refusal(), "no error"); }

TEST_F(ShardDamage, EveryTruncationIsRefused) {
  for (size_t length = 0; length < bytes_.size(); length += length < 256 ? 16 : 97) {
    write_bytes(path_, bytes_.substr(0, length));
    ASSERT_TRUE(mentions(refusal(), {path_.string(), "expected", "again"})) << length;
  }
  write_bytes(path_, bytes_.substr(0, bytes_.size() - 1));
  EXPECT_TRUE(mentions(refusal(), {path_.string(), "again"}));
}

TEST_F(ShardDamage, AFlippedByteIsRefusedOrChangesNothing) {
  const std::string intact = contents(Shard(path_));
  for (size_t at = 0; at < bytes_.size(); at += 7) {
    std::string damaged = bytes_;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    write_bytes(path_, damaged);
    const std::string message = refusal();
    if (message == "no error") {
      ASSERT_EQ(contents(Shard(path_)), intact) << at;
    } else {
      ASSERT_TRUE(mentions(message, {path_.string()})) << at;
    }
  }
}

TEST_F(ShardDamage, FlippedTokenIsNamedByDataset) {
  const Hdf5Dataset tokens = Hdf5File::open(path_).dataset("tokens");
  bytes_[tokens.offset_bytes + 5] ^= 1;
  write_bytes(path_, bytes_);
  const Shard shard(path_);
  EXPECT_TRUE(mentions(error_of([&] { shard.verify(); }),
                       {path_.string(), "dataset tokens", "damaged", "run fern prepare again"}));
}

TEST_F(ShardDamage, OffsetOutOfRangeIsRefusedOnOpening) {
  for (const char* name : {"document_offsets", "text_offsets", "sequence_documents"})
    for (const uint64_t byte : {0, 8, 14, 15}) {
      std::string damaged = bytes_;
      damaged[Hdf5File::open(path_).dataset(name).offset_bytes + byte] ^= 0x70;
      write_bytes(path_, damaged);
      EXPECT_TRUE(
          mentions(error_of([&] { Shard shard(path_); }), {path_.string(), name, "expected", "damaged"}))
          << name << " " << byte;
      write_bytes(path_, bytes_);
    }
}

TEST_F(ShardDamage, MissingFileSaysWhatToRun) {
  EXPECT_TRUE(mentions(error_of([] { Shard("/nowhere/am.h5"); }), {"/nowhere/am.h5", "run fern prepare"}));
}

TEST_F(ShardDamage, OtherFilesAreNotShards) {
  write_bytes(path_, "not HDF5 at all");
  EXPECT_TRUE(mentions(refusal(), {path_.string(), "expected an HDF5 file"}));
  Hdf5File other = Hdf5File::create(path_);
  other.write("weights", std::span<const float>(std::vector<float>{1}));
  other.close();
  EXPECT_TRUE(mentions(refusal(), {path_.string(), "expected a Fern shard"}));
}

// A shard whose parts the test chooses: intact unless changed.
struct Parts {
  int64_t format = kShardFormat;
  std::vector<int32_t> tokens{1, 2, 3};
  std::vector<uint8_t> loss{0, 1, 1};
  std::vector<int64_t> document_offsets{0, 3}, document_loss_bytes{2}, text_offsets{0, 2};
  std::vector<int64_t> sequence_documents{0, 1}, sequence_loss_tokens{2}, sequence_loss_documents{1};
  std::vector<uint8_t> text{'h', 'i'};

  void write(const std::filesystem::path& path) const {
    using namespace shard_format;
    Hdf5File file = Hdf5File::create(path);
    file.set_attribute("/", kKindAttribute, kKind);
    file.set_attribute("/", kFormatAttribute, format);
    for (const char* name : {kLanguage, kSource, kSplit, kTokenizer}) file.set_attribute("/", name, "x");
    file.set_attribute("/", kVocabulary, 10);
    file.set_attribute("/", kContext, 4);
    const auto put = [&]<typename T>(const char* name, const std::vector<T>& values) {
      file.write(name, std::span<const T>(values));
      file.set_attribute(name, kHash, xxh128_hex(values.data(), values.size() * sizeof(T)));
    };
    put(kTokens, tokens);
    put(kLoss, loss);
    put(kDocumentOffsets, document_offsets);
    put(kDocumentLossBytes, document_loss_bytes);
    put(kTextOffsets, text_offsets);
    put(kSequenceDocuments, sequence_documents);
    put(kSequenceLossTokens, sequence_loss_tokens);
    put(kSequenceLossDocuments, sequence_loss_documents);
    put(kText, text);
    file.close();
  }
};

class ShardParts : public ShardDamage {
 protected:
  std::string refusal_of(const Parts& parts) const {
    parts.write(path_);
    return refusal();
  }
};

TEST_F(ShardParts, IntactPartsVerify) { EXPECT_EQ(refusal_of({}), "no error"); }

TEST_F(ShardParts, NewerFormatAsksForANewerFern) {
  EXPECT_TRUE(mentions(refusal_of({.format = 2}), {"expected shard format 1, got 2", "newer Fern"}));
  EXPECT_TRUE(mentions(refusal_of({.format = 0}), {"got 0", "fern prepare"}));
}

TEST_F(ShardParts, DatasetsThatDoNotFitEachOtherAreRefused) {
  EXPECT_TRUE(mentions(refusal_of({.loss = {0, 1}}), {"dataset loss", "expected 3", "got 2"}));
  EXPECT_TRUE(mentions(refusal_of({.document_offsets = {0}}), {"document_offsets", "expected 2", "got 1"}));
  EXPECT_TRUE(mentions(refusal_of({.document_offsets = {0, 4}}), {"document_offsets", "index 1"}));
  EXPECT_TRUE(mentions(refusal_of({.document_loss_bytes = {3}}), {"document_loss_bytes", "0 to 2"}));
  EXPECT_TRUE(mentions(refusal_of({.text_offsets = {0, -1}}), {"text_offsets", "index 1"}));
  EXPECT_TRUE(mentions(refusal_of({.sequence_documents = {1, 1}}), {"sequence_documents", "index 0"}));
  EXPECT_TRUE(mentions(refusal_of({.sequence_loss_tokens = {4}}), {"sequence_loss_tokens", "0 to 3"}));
  EXPECT_TRUE(mentions(refusal_of({.sequence_loss_documents = {2}}), {"sequence_loss_documents", "0 to 1"}));
  EXPECT_TRUE(
      mentions(refusal_of({.tokens = {1, 2, 3, 4, 5}, .loss = {0, 1, 1, 1, 1}, .document_offsets = {0, 5}}),
               {"at most 4 tokens (the context)"}));
}

TEST_F(ShardParts, EmptyShardIsRefused) {
  EXPECT_TRUE(mentions(refusal_of({.tokens = {},
                                   .loss = {},
                                   .document_offsets = {0},
                                   .document_loss_bytes = {},
                                   .text_offsets = {0},
                                   .sequence_documents = {0},
                                   .sequence_loss_tokens = {},
                                   .sequence_loss_documents = {},
                                   .text = {}}),
                       {"at least one sequence", "fern prepare"}));
}

TEST_F(ShardDamage, AnotherTokenizerIsRefusedWithWhatToRun) {
  const Shard shard(path_);
  EXPECT_TRUE(mentions(error_of([&] { shard.expect_made_with(std::string(64, 'b'), 16); }),
                       {path_.string(), std::string(64, 'a'), std::string(64, 'b'), "run fern prepare"}));
}

TEST_F(ShardDamage, ALargerContextIsRefusedAndASmallerOneFits) {
  const Shard shard(path_);
  const std::string tokenizer(64, 'a');
  EXPECT_TRUE(
      mentions(error_of([&] { shard.expect_made_with(tokenizer, 15); }), {path_.string(), "16", "15"}));
  EXPECT_EQ(error_of([&] { shard.expect_made_with(tokenizer, 32); }), "no error");
}

}  // namespace
}  // namespace fern
