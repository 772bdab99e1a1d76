// Attention where queries and keys lie in blocks, against the whole.
#include <functional>

#include "tests/framework/ops/attention_cases.h"

namespace fern::testing {
namespace {

// The block that a position of T lies in. Blocks keep the order of positions.
struct Deal {
  const char* name;
  int64_t blocks;
  std::function<int64_t(int64_t t, int64_t tokens)> block_of;
};
const std::vector<Deal> kDeals = {
    {"one", 1, [](int64_t, int64_t) { return 0; }},
    {"halves", 2, [](int64_t t, int64_t tokens) { return 2 * t / tokens; }},
    {"striped", 3, [](int64_t t, int64_t) { return t % 3; }},
    {"zig-zag", 4, [](int64_t t, int64_t tokens) { return std::min(8 * t / tokens, 7 - 8 * t / tokens); }},
    {"uneven", 3,
     [](int64_t t, int64_t) {
       return static_cast<int64_t>(random_below(3, 5, Purpose::kTest, static_cast<uint64_t>(t / 5)));
     }},
};

// Values of the whole sequence, and what comes of them.
template <typename T>
struct Whole {
  explicit Whole(const Case& c)
      : sizes(c),
        starts(starts_of(c.documents)),
        tokens(std::ssize(starts)),
        row((c.heads + 2 * c.kv_heads) * c.head_size),
        out(c.heads * c.head_size),
        qkv({tokens, row}),
        d_o({tokens, out}),
        o({tokens, out}),
        dqkv({tokens, row}),
        lse({c.heads, tokens}),
        delta({c.heads, tokens}) {}
  Case sizes;
  std::vector<int32_t> starts;
  int64_t tokens, row, out;
  Values<T> qkv, d_o, o, dqkv;
  Values<Wide<T>> lse, delta;
};

// The rows of a sequence that are in one block.
template <typename T>
struct BlockRows {
  BlockRows(Whole<T>& whole, std::vector<int64_t> at)
      : positions(std::move(at)),
        rows(std::ssize(positions)),
        kv_row(2 * whole.sizes.kv_heads * whole.sizes.head_size),
        qkv({rows, whole.row}),
        kv({rows, kv_row}),
        d_o({rows, whole.out}),
        o({rows, whole.out}),
        other_o({rows, whole.out}),
        dqkv({rows, whole.row}),
        dkv({rows, kv_row}),
        lse({whole.sizes.heads, rows}),
        other_lse({whole.sizes.heads, rows}),
        delta({whole.sizes.heads, rows}) {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t t = positions[static_cast<size_t>(i)];
      copy(qkv, i, whole.qkv, t, whole.row);
      copy(d_o, i, whole.d_o, t, whole.out);
      std::copy_n(&whole.qkv[(t + 1) * whole.row - kv_row], kv_row, &kv[i * kv_row]);
    }
  }
  static void copy(Values<T>& to, int64_t row, Values<T>& from, int64_t from_row, int64_t size) {
    std::copy_n(&from[from_row * size], size, &to[row * size]);
  }
  void copy_out(Whole<T>& whole) {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t t = positions[static_cast<size_t>(i)];
      copy(whole.o, t, o, i, whole.out);
      copy(whole.dqkv, t, dqkv, i, whole.row);
      std::copy_n(&dkv[i * kv_row], kv_row, &whole.dqkv[(t + 1) * whole.row - kv_row]);
      for (int64_t head = 0; head < whole.sizes.heads; ++head)
        whole.lse[head * whole.tokens + t] = lse[head * rows + i];
    }
  }
  int64_t before(int64_t t) const { return std::ranges::lower_bound(positions, t) - positions.begin(); }

  std::vector<int64_t> positions;
  int64_t rows, kv_row;
  Values<T> qkv, kv, d_o, o, other_o, dqkv, dkv;
  Values<Wide<T>> lse, other_lse, delta;
};

// What the queries of one block see of the keys of another.
template <typename T>
struct Seen {
  Seen(const Whole<T>& whole, BlockRows<T>& queries, BlockRows<T>& keys)
      : kv(keys.kv.tensor()), first({queries.rows}), end({queries.rows}) {
    for (int64_t i = 0; i < queries.rows; ++i) {
      const int64_t t = queries.positions[static_cast<size_t>(i)];
      first[i] = static_cast<int32_t>(keys.before(whole.starts[static_cast<size_t>(t)]));
      end[i] = static_cast<int32_t>(keys.before(t + 1));
    }
  }
  SeenKeys keys() { return {kv, first.tensor(), end.tensor()}; }
  Tensor kv;
  Values<int32_t> first, end;
};

// Each block of queries begins with its own keys, and takes the others as they come round a ring.
template <typename T>
void run_in_blocks(Whole<T>& whole, const Deal& deal) {
  std::vector<std::vector<int64_t>> positions(static_cast<size_t>(deal.blocks));
  for (int64_t t = 0; t < whole.tokens; ++t)
    positions[static_cast<size_t>(deal.block_of(t, whole.tokens))].push_back(t);
  std::vector<BlockRows<T>> blocks;
  for (const auto& of_block : positions)
    if (!of_block.empty()) blocks.emplace_back(whole, of_block);
  const int64_t heads = whole.sizes.heads, kv_heads = whole.sizes.kv_heads;
  const size_t count = blocks.size();
  Stream stream;
  for (size_t q = 0; q < count; ++q)
    for (size_t step = 0; step < count; ++step) {
      BlockRows<T>& queries = blocks[q];
      Seen<T> seen(whole, queries, blocks[(q + count - step) % count]);
      Values<T>& o = step == 0 ? queries.o : queries.other_o;
      Values<Wide<T>>& lse = step == 0 ? queries.lse : queries.other_lse;
      attention_forward(o.tensor(), lse.tensor(), queries.qkv.tensor(), seen.keys(), heads, kv_heads, stream);
      if (step > 0)
        attention_merge(queries.o.tensor(), queries.lse.tensor(), o.tensor(), lse.tensor(), stream);
    }
  for (size_t step = 0; step < count; ++step)
    for (size_t q = 0; q < count; ++q) {
      BlockRows<T>&queries = blocks[q], &keys = blocks[(q + count - step) % count];
      Seen<T> seen(whole, queries, keys);
      attention_backward({queries.dqkv.tensor(), keys.dkv.tensor(), queries.delta.tensor(), step > 0},
                         queries.d_o.tensor(), queries.o.tensor(), queries.lse.tensor(), queries.qkv.tensor(),
                         seen.keys(), heads, kv_heads, stream);
    }
  for (BlockRows<T>& block : blocks) block.copy_out(whole);
}

template <typename T>
void run_whole(Whole<T>& whole) {
  Causal causal(whole.starts);
  Stream stream;
  const SeenKeys seen = causal.seen(whole.qkv.tensor());
  attention_forward(whole.o.tensor(), whole.lse.tensor(), whole.qkv.tensor(), seen, whole.sizes.heads,
                    whole.sizes.kv_heads, stream);
  attention_backward({whole.dqkv.tensor(), whole.dqkv.tensor(), whole.delta.tensor()}, whole.d_o.tensor(),
                     whole.o.tensor(), whole.lse.tensor(), whole.qkv.tensor(), seen, whole.sizes.heads,
                     whole.sizes.kv_heads, stream);
}

// The same values in T and in f64.
template <typename T>
void fill(Values<T>& narrow_values, Values<double>& wide_values, uint64_t seed) {
  for (size_t i = 0; i < narrow_values.data().size(); ++i) {
    narrow_values.data()[i] = narrow<T>(static_cast<Wide<T>>(random_normal(seed, Purpose::kTest, i)));
    wide_values.data()[i] = static_cast<double>(widen(narrow_values.data()[i]));
  }
}

template <typename T>
void expect_near(const char* what, Values<T>& got, Values<double>& expected, double tolerance) {
  double scale = 0, error = 0;
  for (size_t i = 0; i < got.data().size(); ++i) {
    const double value = static_cast<double>(widen(got.data()[i])), right = expected.data()[i];
    ASSERT_TRUE(std::isfinite(value)) << what << " " << i;
    scale = std::max(scale, std::abs(right));
    error = std::max(error, std::abs(value - right));
  }
  EXPECT_LE(error, tolerance * scale) << what;
}

template <typename T>
void expect_blocks_make_the_whole(double tolerance) {
  for (const std::vector<Case>& cases : {kSmall, kLarge})
    for (const Case& sizes : cases)
      for (const Deal& deal : kDeals) {
        SCOPED_TRACE(::testing::Message() << sizes << ", " << deal.name);
        Whole<T> parts(sizes);
        Whole<double> whole(sizes);
        fill(parts.qkv, whole.qkv, 1);
        fill(parts.d_o, whole.d_o, 2);
        run_in_blocks(parts, deal);
        run_whole(whole);
        expect_near("o", parts.o, whole.o, tolerance);
        expect_near("lse", parts.lse, whole.lse, tolerance);
        expect_near("dqkv", parts.dqkv, whole.dqkv, tolerance);
      }
}

TEST(AttentionBlocks, MakeTheWholeInF64) { expect_blocks_make_the_whole<double>(1e-13); }
TEST(AttentionBlocks, MakeTheWholeInF32) { expect_blocks_make_the_whole<float>(4e-6); }
TEST(AttentionBlocks, MakeTheWholeInBF16) { expect_blocks_make_the_whole<BF16>(0x1p-6); }

// Whatever is in the memory of tiles: not a number must not reach rows that see nothing.
TEST(AttentionBlocks, QueriesThatSeeNothingGetNothing) {
  for (const int64_t rows : {1, 9, 130}) {
    Stream stream;
    Values<float> qkv = Values<float>::random({rows, 3 * 8}, 1), kv = Values<float>::random({70, 2 * 8}, 2),
                  d_o = Values<float>::random({rows, 8}, 3), o({rows, 8}), lse({1, rows}), delta({1, rows}),
                  dqkv = Values<float>::random({rows, 3 * 8}, 4), dkv = Values<float>::random({70, 2 * 8}, 5);
    Values<int32_t> nowhere({rows});
    std::ranges::fill(nowhere.data(), 37);
    const SeenKeys seen = {kv.tensor(), nowhere.tensor(), nowhere.tensor()};
    attention_forward(o.tensor(), lse.tensor(), qkv.tensor(), seen, 1, 1, stream);
    for (const float value : o.data()) EXPECT_EQ(value, 0.0F);
    for (const float value : lse.data()) EXPECT_EQ(value, -std::numeric_limits<float>::infinity());
    std::ranges::fill(lse.data(), 1.0F);  // of another block, where they see something
    attention_backward({dqkv.tensor(), dkv.tensor(), delta.tensor()}, d_o.tensor(), o.tensor(), lse.tensor(),
                       qkv.tensor(), seen, 1, 1, stream);
    for (const float value : dkv.data()) EXPECT_EQ(value, 0.0F);
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t k = 0; k < 8; ++k) EXPECT_EQ(dqkv[t * 24 + k], 0.0F);
  }
}

TEST(AttentionBlocks, BitsDoNotDependOnThreads) {
  for (const Case& sizes : kLarge)
    expect_bits_independent_of_threads<float>([&] {
      Whole<float> parts(sizes);
      Whole<double> wide(sizes);
      fill(parts.qkv, wide.qkv, 1);
      fill(parts.d_o, wide.d_o, 2);
      run_in_blocks(parts, kDeals[3]);
      std::vector<float> all = parts.o.data();
      all.insert(all.end(), parts.dqkv.data().begin(), parts.dqkv.data().end());
      return all;
    });
}

TEST(AttentionMerge, RefusesWrongShapes) {
  Stream stream;
  Values<float> o({5, 8}), other({5, 4}), lse({2, 5});
  expect_error([&] { attention_merge(o.tensor(), lse.tensor(), other.tensor(), lse.tensor(), stream); },
               "[attention_merge] other_o: expected f32 [5, 8], got f32 [5, 4]");
}

}  // namespace
}  // namespace fern::testing
