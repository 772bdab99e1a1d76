// Attention on bf16 activations against f64 on the same values.
#include "framework/ops/attention.h"
#include "tests/framework/ops/attention_cases.h"
#include "tests/framework/ops/bf16_testing.h"

namespace fern::testing {
namespace {

struct AttentionBF16 {
  explicit AttentionBF16(const Case& c)
      : sizes(c),
        tokens(static_cast<int64_t>(starts_of(c.documents).size())),
        row((c.heads + 2 * c.kv_heads) * c.head_size),
        qkv({tokens, row}, 1),
        d_o({tokens, c.heads * c.head_size}, 2),
        o({tokens, c.heads * c.head_size}),
        dqkv({tokens, row}),
        lse({c.heads, tokens}),
        delta({c.heads, tokens}),
        causal(starts_of(c.documents)) {}

  void run_narrow() { run(qkv.narrow, d_o.narrow, o.narrow, dqkv.narrow, lse.narrow, delta.narrow); }
  void run_wide() { run(qkv.wide, d_o.wide, o.wide, dqkv.wide, lse.wide, delta.wide); }

  Case sizes;
  int64_t tokens, row;
  Both qkv, d_o, o, dqkv;
  BothWide lse, delta;
  Causal causal;

 private:
  void run(auto& qkv_values, auto& d_o_values, auto& o_values, auto& dqkv_values, auto& lse_values,
           auto& delta_values) {
    Stream stream;
    const SeenKeys seen = causal.seen(qkv_values.tensor());
    attention_forward(o_values.tensor(), lse_values.tensor(), qkv_values.tensor(), seen, sizes.heads,
                      sizes.kv_heads, stream);
    attention_backward({dqkv_values.tensor(), dqkv_values.tensor(), delta_values.tensor()},
                       d_o_values.tensor(), o_values.tensor(), lse_values.tensor(), qkv_values.tensor(), seen,
                       sizes.heads, sizes.kv_heads, stream);
  }
};

TEST(AttentionBF16, MatchesF64) {
  for (const std::vector<Case>& cases : {kSmall, kLarge})
    for (const Case& sizes : cases) {
      SCOPED_TRACE(sizes);
      AttentionBF16 op(sizes);
      op.run_narrow(), op.run_wide();
      expect_near(op.o, "o");
      expect_near(op.dqkv, "dqkv");
    }
}

TEST(AttentionBF16, SumsAndSoftmaxAreF32) {
  constexpr double kF32Tolerance = 2e-6;
  for (const Case& sizes : kLarge) {
    SCOPED_TRACE(sizes);
    AttentionBF16 op(sizes);
    op.run_narrow(), op.run_wide();
    expect_near(op.lse, "lse", kF32Tolerance);
  }
}

// To the bit: not even an exponential of nearly 0 comes from another document.
TEST(AttentionBF16, DocumentsDoNotSeeEachOther) {
  const Case sizes = {4, 2, 10, {70, 5, 91}};
  AttentionBF16 clean(sizes), other(sizes);
  const int64_t begin = 70, end = 75;
  for (int64_t i = begin * other.row; i < end * other.row; ++i) other.qkv.narrow[i] = narrow<BF16>(1e4F);
  clean.run_narrow(), other.run_narrow();
  for (int64_t t = 0; t < clean.tokens; ++t) {
    if (begin <= t && t < end) continue;
    for (int64_t i = t * clean.row; i < (t + 1) * clean.row; ++i)
      ASSERT_EQ(other.dqkv.narrow[i].bits, clean.dqkv.narrow[i].bits) << "token " << t;
    const int64_t out = 4 * 10;
    for (int64_t i = t * out; i < (t + 1) * out; ++i)
      ASSERT_EQ(other.o.narrow[i].bits, clean.o.narrow[i].bits) << "token " << t;
  }
}

TEST(AttentionBF16, LargeScoresStayFinite) {
  AttentionBF16 op({1, 1, 8, {100}});
  for (BF16& value : op.qkv.narrow.data()) value = narrow<BF16>(100 * widen(value));
  op.run_narrow();
  for (BF16 value : op.o.narrow.data()) ASSERT_TRUE(std::isfinite(widen(value)));
  for (BF16 value : op.dqkv.narrow.data()) ASSERT_TRUE(std::isfinite(widen(value)));
}

TEST(AttentionBF16, BitsDoNotDependOnThreads) {
  for (const Case& sizes : kLarge)
    expect_bits_independent_of_threads<uint16_t>([&] {
      AttentionBF16 op(sizes);
      op.run_narrow();
      std::vector<uint16_t> bits;
      for (const BF16 value : op.o.narrow.data()) bits.push_back(value.bits);
      for (const BF16 value : op.dqkv.narrow.data()) bits.push_back(value.bits);
      return bits;
    });
}

}  // namespace
}  // namespace fern::testing
