#include "framework/data/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/framework/data/fixture.h"

namespace fern {
namespace {

using testing_data::random_number;

std::vector<int64_t> random_lengths(size_t count, int64_t context, uint64_t key) {
  std::vector<int64_t> lengths(count);
  for (size_t i = 0; i < count; ++i)
    lengths[i] = 1 + static_cast<int64_t>(
                         random_number(static_cast<uint64_t>(context), key, static_cast<uint32_t>(i)));
  return lengths;
}

int64_t tokens_of(const Packing& packing, size_t sequence, const std::vector<int64_t>& lengths) {
  int64_t tokens = 0;
  for (int64_t i = packing.sequence_documents_S[sequence]; i < packing.sequence_documents_S[sequence + 1];
       ++i)
    tokens += lengths[static_cast<size_t>(packing.order_D[static_cast<size_t>(i)])];
  return tokens;
}

TEST(Packing, HoldsEveryDocumentOnceWithinTheContext) {
  for (uint64_t key = 0; key < 50; ++key) {
    const int64_t context = 1 + static_cast<int64_t>(random_number(64, key, 1u << 30));
    const auto lengths = random_lengths(1 + random_number(300, key, 1u << 31), context, key);
    const Packing packing = pack(lengths, context, 1 + static_cast<int64_t>(key * 3));
    std::vector<int64_t> seen = packing.order_D, all(lengths.size());
    std::sort(seen.begin(), seen.end());
    std::iota(all.begin(), all.end(), 0);
    ASSERT_EQ(seen, all);
    ASSERT_EQ(packing.sequence_documents_S.back(), static_cast<int64_t>(lengths.size()));
    for (size_t i = 0; i + 1 < packing.sequence_documents_S.size(); ++i) {
      ASSERT_GE(tokens_of(packing, i, lengths), 1);
      ASSERT_LE(tokens_of(packing, i, lengths), context);
    }
  }
}

TEST(Packing, IsFirstFitDecreasing) {
  const Packing packing = pack(std::vector<int64_t>{2, 5, 7, 1, 4, 3}, 10);
  EXPECT_EQ(packing.order_D, (std::vector<int64_t>{2, 5, 1, 3, 4, 0}));
  EXPECT_EQ(packing.sequence_documents_S, (std::vector<int64_t>{0, 2, 5, 6}));
}

TEST(Packing, NeverMixesWindows) {
  const Packing packing = pack(std::vector<int64_t>{1, 1, 1, 1, 1}, 10, 2);
  EXPECT_EQ(packing.sequence_documents_S, (std::vector<int64_t>{0, 2, 4, 5}));
}

TEST(Packing, WastesLittleOnShortDocuments) {
  const auto lengths = random_lengths(20000, 128, 7);
  const Packing packing = pack(lengths, 512);
  const double tokens = static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
  EXPECT_GT(tokens / (512.0 * static_cast<double>(packing.sequence_documents_S.size() - 1)), 0.98);
}

}  // namespace
}  // namespace fern
