#include "framework/data/context_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace fern {
namespace {

MicroBatch batch_of(int64_t sequences, int64_t context) {
  MicroBatch batch;
  reset(batch, sequences, context);
  batch.batch_tokens = 99;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t length = context - 3 * s;
    batch.language_S[static_cast<size_t>(s)] = static_cast<int32_t>(s);
    batch.length_S[static_cast<size_t>(s)] = static_cast<int32_t>(length);
    for (int64_t t = s * context; t < s * context + length; ++t) {
      const auto at = static_cast<size_t>(t);
      batch.input_T[at] = static_cast<int32_t>(100 + t);
      batch.target_T[at] = t % 3 == 0 ? -1 : static_cast<int32_t>(200 + t);
      batch.loss_weight_T[at] = static_cast<float>(t);
      batch.document_start_T[at] = static_cast<int32_t>(s * context + (t - s * context) / 5 * 5);
      batch.tokens += 1;
      batch.loss_tokens += batch.target_T[at] >= 0;
    }
  }
  return batch;
}

TEST(ContextShare, OfTwoChunksOneIsAsLateAsTheOtherIsEarly) {
  const auto positions = [](int64_t ranks, int64_t rank) {
    const ContextShare share = {.ranks = ranks, .rank = rank, .context = 12};
    std::vector<int64_t> whole;
    for (int64_t t = 0; t < share.positions() + 1; ++t) whole.push_back(share.whole_position(t));
    return whole;
  };
  EXPECT_EQ(positions(3, 0), (std::vector<int64_t>{0, 1, 10, 11, 12}));  // and the next sequence's first
  EXPECT_EQ(positions(3, 1), (std::vector<int64_t>{2, 3, 8, 9, 14}));
  EXPECT_EQ(positions(3, 2), (std::vector<int64_t>{4, 5, 6, 7, 16}));
  EXPECT_EQ(positions(2, 1), (std::vector<int64_t>{3, 4, 5, 6, 7, 8, 15}));
}

TEST(ContextShare, EveryPositionIsOnOneRankAndCountedBeforeThoseAfterIt) {
  for (const auto& [ranks, context] : {std::pair{1, 7}, {1, 12}, {2, 12}, {3, 12}, {5, 30}}) {
    std::vector<int> seen(static_cast<size_t>(3 * context));
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const ContextShare share = {.ranks = ranks, .rank = rank, .context = context};
      std::vector<int64_t> own;
      for (int64_t t = 0; t < 3 * share.positions(); ++t) own.push_back(share.whole_position(t));
      EXPECT_TRUE(std::ranges::is_sorted(own));
      for (const int64_t position : own) ++seen[static_cast<size_t>(position)];
      for (int64_t position = 0; position <= 3 * context; ++position)
        EXPECT_EQ(share.rows_before(position),
                  std::ranges::count_if(own, [&](int64_t p) { return p < position; }))
            << position << " on rank " << rank << " of " << ranks;
    }
    EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
  }
}

TEST(ContextShare, CutBatchesMakeTheWhole) {
  const MicroBatch whole = batch_of(3, 12);
  for (const int64_t ranks : {1, 2, 3, 6}) {
    int64_t tokens = 0, loss_tokens = 0;
    MicroBatch own;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const ContextShare share = {.ranks = ranks, .rank = rank, .context = 12};
      cut(own, whole, share);
      ASSERT_EQ(own.context, 12 / ranks);
      EXPECT_EQ(own.sequences, 3);
      EXPECT_EQ(own.language_S, whole.language_S);
      EXPECT_EQ(own.batch_tokens, 99);
      for (size_t t = 0; t < own.input_T.size(); ++t) {
        const auto from = static_cast<size_t>(share.whole_position(static_cast<int64_t>(t)));
        EXPECT_EQ(own.input_T[t], whole.input_T[from]);
        EXPECT_EQ(own.target_T[t], whole.target_T[from]);
        EXPECT_EQ(own.loss_weight_T[t], whole.loss_weight_T[from]);
        EXPECT_EQ(own.document_start_T[t], whole.document_start_T[from]);
        // What is not padding comes first.
        const int64_t s = static_cast<int64_t>(t) / own.context, i = static_cast<int64_t>(t) % own.context;
        EXPECT_EQ(own.input_T[t] != 0, i < own.length_S[static_cast<size_t>(s)]) << t;
      }
      tokens += own.tokens;
      loss_tokens += own.loss_tokens;
    }
    EXPECT_EQ(tokens, whole.tokens);
    EXPECT_EQ(loss_tokens, whole.loss_tokens);
  }
}

}  // namespace
}  // namespace fern
