#include "framework/data/loader.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <numeric>

#include "framework/core/hdf5_file.h"
#include "tests/framework/data/loader_fixture.h"

namespace fern {
namespace {

using namespace testing_data;

TEST(OpenLanguages, OrdersByCodeAndJoinsShards) {
  const SmallData data("open");
  ASSERT_EQ(data.languages.size(), 3u);
  EXPECT_EQ(data.languages[0].language(), "am");
  EXPECT_EQ(data.languages[1].language(), "sw");
  EXPECT_EQ(data.languages[2].language(), "yo");
  const LanguageData& am = data.languages[0];
  ASSERT_EQ(am.shards().size(), 2u);
  EXPECT_EQ(am.sequences(), am.shards()[0].sequences() + am.shards()[1].sequences());
  EXPECT_EQ(am.bytes(), am.shards()[0].bytes() + am.shards()[1].bytes());
  const int64_t first_of_second = am.shards()[0].sequences();
  EXPECT_EQ(am.sequence(first_of_second).tokens.data(), am.shards()[1].sequence(0).tokens.data());
  EXPECT_EQ(am.sequence_counts(first_of_second - 1).tokens,
            am.shards()[0].sequence_counts(first_of_second - 1).tokens);
}

TEST(OpenLanguages, RefusesFoldersThatDoNotFit) {
  const auto folder = small_folder("refused");
  const auto refusal = [&](const std::string& split, const std::string& tokenizer, int64_t context) {
    return error_of([&] { open_languages(folder, split, tokenizer, context); });
  };
  EXPECT_TRUE(mentions(refusal("valid", std::string(64, 'a'), 16), {"valid", "run fern prepare"}));
  EXPECT_TRUE(mentions(refusal("train", std::string(64, 'b'), 16), {"am.gettext.h5", "tokenizer"}));
  EXPECT_TRUE(mentions(refusal("train", std::string(64, 'a'), 8), {"am.gettext.h5", "16", "8"}));
  std::filesystem::rename(folder / "train", folder / "test");
  EXPECT_TRUE(mentions(refusal("test", std::string(64, 'a'), 16), {"split test, got train"}));
}

// What each position should be, from the shard's own documents.
void expect_sequence(const MicroBatch& batch, int64_t slot, const PackedSequence& packed) {
  const int64_t base = slot * batch.context;
  int64_t t = 0;
  for (size_t d = 0; d + 1 < packed.document_offsets.size(); ++d) {
    const int64_t start = t, end = packed.document_offsets[d + 1] - packed.document_offsets[0];
    for (; t < end; ++t) {
      const auto at = static_cast<size_t>(base + t), here = static_cast<size_t>(t);
      ASSERT_EQ(batch.input_T[at], packed.tokens[here]);
      ASSERT_EQ(batch.document_start_T[at], base + start);
      const bool has_target = t + 1 < end && packed.loss[here + 1] == 1;
      ASSERT_EQ(batch.target_T[at], has_target ? packed.tokens[here + 1] : -1);
      ASSERT_EQ(batch.loss_weight_T[at] > 0, has_target);
    }
  }
  for (; t < batch.context; ++t) {
    const auto at = static_cast<size_t>(base + t);
    ASSERT_EQ(batch.input_T[at], 0);
    ASSERT_EQ(batch.target_T[at], -1);
    ASSERT_EQ(batch.document_start_T[at], base + t);
    ASSERT_EQ(batch.loss_weight_T[at], 0.0f);
  }
}

// Bytes of mapped files whose path has `name` in it that count to this process.
size_t resident_bytes_of(const std::string& name) {
  std::ifstream maps("/proc/self/smaps");
  size_t kilobytes = 0;
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) inside = line.find(name) != std::string::npos;
    if (inside && line.starts_with("Rss:")) kilobytes += std::stoul(line.substr(4));
  }
  return kilobytes * 1024;
}

TEST(Loader, KeepsNoPageOfAShard) {
  const SmallData data("pages");
  const Loader loader = data.loader(4, LossNormalization::kToken);
  const std::string path = data.languages[0].shards()[0].path().string();
  data.languages[0].sequence_counts(0);
  EXPECT_GT(resident_bytes_of(path), 0u);
  for (const LanguageData& language : data.languages)
    for (const Shard& shard : language.shards()) shard.forget_pages();
  MicroBatch batch;
  loader.load(batch, 0, 0);
  loader.counts(0);
  for (const LanguageData& language : data.languages)
    for (const Shard& shard : language.shards())
      EXPECT_EQ(resident_bytes_of(shard.path().string()), 0u) << shard.path();
}

TEST(Loader, PositionsFollowDocumentsAndPadding) {
  const SmallData data("positions");
  const Loader loader = data.loader(4, LossNormalization::kToken);
  MicroBatch batch;
  for (int64_t step = 0; step < 20; ++step)
    for (int64_t micro = 0; micro < loader.micro_batches(); ++micro) {
      loader.load(batch, step, micro);
      for (int64_t slot = 0; slot < 4; ++slot) {
        const Draw draw = data.sampler->draw(step, micro * 4 + slot);
        ASSERT_EQ(batch.language_S[static_cast<size_t>(slot)], draw.language);
        expect_sequence(batch, slot,
                        data.languages[static_cast<size_t>(draw.language)].sequence(draw.sequence));
      }
    }
}

TEST(Loader, AContextLargerThanTheShardsPadsMore) {
  const SmallData data("larger");
  const Loader loader = data.loader(3, LossNormalization::kToken, 20);
  MicroBatch batch;
  loader.load(batch, 0, 1);
  ASSERT_EQ(batch.input_T.size(), 60u);
  const Draw draw = data.sampler->draw(0, 4);
  expect_sequence(batch, 1, data.languages[static_cast<size_t>(draw.language)].sequence(draw.sequence));
}

class LoaderNormalization : public testing::TestWithParam<LossNormalization> {};

TEST_P(LoaderNormalization, WeightsOfAStepSumToOneForAnyMicroBatch) {
  const SmallData data("sum");
  for (const int64_t micro_sequences : {1, 2, 3, 4, 6, 12}) {
    const Loader loader = data.loader(micro_sequences, GetParam());
    MicroBatch batch;
    for (int64_t step = 0; step < 10; ++step) {
      double sum = 0;
      for (int64_t micro = 0; micro < loader.micro_batches(); ++micro) {
        loader.load(batch, step, micro);
        sum = std::accumulate(batch.loss_weight_T.begin(), batch.loss_weight_T.end(), sum);
      }
      ASSERT_NEAR(sum, 1.0, 1e-6);
    }
  }
}

TEST_P(LoaderNormalization, MicroBatchesAreSlicesOfTheStep) {
  const SmallData data("slices");
  const Loader whole = data.loader(12, GetParam()), parts = data.loader(3, GetParam());
  MicroBatch all, part;
  whole.load(all, 5, 0);
  for (int64_t micro = 0; micro < 4; ++micro) {
    parts.load(part, 5, micro);
    for (size_t t = 0; t < 48; ++t) {
      ASSERT_EQ(part.input_T[t], all.input_T[static_cast<size_t>(micro) * 48 + t]);
      ASSERT_EQ(part.loss_weight_T[t], all.loss_weight_T[static_cast<size_t>(micro) * 48 + t]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Both, LoaderNormalization,
                         testing::Values(LossNormalization::kToken, LossNormalization::kSequence));

TEST(Loader, TokenWeightsAreEqual) {
  const SmallData data("token");
  const Loader loader = data.loader(12);
  MicroBatch batch;
  loader.load(batch, 2, 0);
  EXPECT_EQ(loader.normalizer(2), batch.loss_tokens);
  for (size_t t = 0; t < batch.target_T.size(); ++t)
    if (batch.target_T[t] >= 0) {
      ASSERT_EQ(batch.loss_weight_T[t], static_cast<float>(1.0 / static_cast<double>(batch.loss_tokens)));
    }
}

TEST(Loader, SequenceWeightsAreEqualPerDocument) {
  const SmallData data("sequence");
  const Loader loader = data.loader(12, LossNormalization::kSequence);
  MicroBatch batch;
  loader.load(batch, 2, 0);
  std::map<int32_t, double> by_document;
  for (size_t t = 0; t < batch.target_T.size(); ++t)
    if (batch.target_T[t] >= 0) by_document[batch.document_start_T[t]] += batch.loss_weight_T[t];
  EXPECT_EQ(loader.normalizer(2), static_cast<int64_t>(by_document.size()));
  for (const auto& [start, weight] : by_document)
    ASSERT_NEAR(weight, 1.0 / static_cast<double>(by_document.size()), 1e-6) << start;
}

TEST(Loader, ABatchWithoutTargetsHasNoWeight) {
  const auto folder = fresh_folder("targetless");
  write_shard(folder / "train" / "sw.gettext.h5", header_for("sw"), {document_of(5, 5, 1)});
  const auto languages = open_languages(folder, "train", std::string(64, 'a'), 16);
  const Sampler sampler(1, {1.0}, {1}, 2);
  const Loader loader(languages, sampler, {.sequences = 2, .micro_sequences = 1, .context = 16},
                      LossNormalization::kSequence);
  MicroBatch batch;
  loader.load(batch, 0, 0);
  EXPECT_EQ(loader.normalizer(0), 0);
  EXPECT_EQ(batch.loss_tokens, 0);
  EXPECT_EQ(std::accumulate(batch.loss_weight_T.begin(), batch.loss_weight_T.end(), 0.0f), 0.0f);
}

TEST(Loader, CountsAreThoseOfTheMicroBatches) {
  const SmallData data("counts_of_step");
  const Loader loader = data.loader(1);
  MicroBatch batch;
  for (int64_t step = 0; step < 5; ++step) {
    std::vector<LanguageCounts> expected(3);
    for (int64_t micro = 0; micro < 12; ++micro) {
      loader.load(batch, step, micro);
      LanguageCounts& language = expected[static_cast<size_t>(batch.language_S[0])];
      language.sequences += 1;
      language.tokens += batch.tokens;
      language.loss_tokens += batch.loss_tokens;
    }
    const auto counts = loader.counts(step);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(counts[i].sequences, expected[i].sequences);
      EXPECT_EQ(counts[i].tokens, expected[i].tokens);
      EXPECT_EQ(counts[i].loss_tokens, expected[i].loss_tokens);
      EXPECT_EQ(counts[i].available, data.languages[i].sequences());
    }
  }
}

TEST(Loader, RefusesShapesThatDoNotFit) {
  const SmallData data("shapes");
  EXPECT_TRUE(mentions(error_of([&] { data.loader(5); }), {"micro_sequences", "divide", "5 and 12"}));
  EXPECT_TRUE(mentions(error_of([&] { data.loader(4, LossNormalization::kToken, 8); }),
                       {"am.gettext.h5", "16", "8"}));
  EXPECT_TRUE(mentions(error_of([&] {
                         Loader(data.languages, *data.sampler,
                                {.sequences = 6, .micro_sequences = 1, .context = 16},
                                LossNormalization::kToken);
                       }),
                       {"sampler of 6 sequences"}));
}

TEST(Loader, DamagedTokenIsRefusedBeforeItReachesTheModel) {
  const auto folder = fresh_folder("damaged_token");
  const auto path = folder / "train" / "sw.gettext.h5";
  write_shard(path, header_for("sw"), {document_of(5, 1, 1)});
  std::string bytes = bytes_of(path);
  bytes[Hdf5File::open(path).dataset("tokens").offset_bytes + 7] = 0x7f;
  write_bytes(path, bytes);
  const auto languages = open_languages(folder, "train", std::string(64, 'a'), 16);
  const Sampler sampler(1, {1.0}, {1}, 1);
  const Loader loader(languages, sampler, {.sequences = 1, .micro_sequences = 1, .context = 16},
                      LossNormalization::kToken);
  MicroBatch batch;
  EXPECT_TRUE(mentions(error_of([&] { loader.load(batch, 0, 0); }), {path.string(), "[0, 1000)", "damaged"}));
}

}  // namespace
}  // namespace fern
