// Every op on bf16 activations against the same op in f64 on the same values.
#include <algorithm>
#include <cmath>

#include "framework/ops/attention.h"
#include "framework/ops/cross_entropy.h"
#include "framework/ops/embedding.h"
#include "framework/ops/linear.h"
#include "framework/ops/rms_norm.h"
#include "framework/ops/rotary.h"
#include "framework/ops/swiglu.h"
#include "tests/framework/ops/attention_cases.h"
#include "tests/framework/ops/bf16_testing.h"
#include "tests/framework/ops/packed_testing.h"

namespace fern::testing {
namespace {

struct Sizes {
  int64_t tokens, inputs, outputs;
};
constexpr Sizes kSizes[] = {{1, 1, 1}, {3, 4, 5}, {7, 2, 9}, {130, 65, 129}, {257, 300, 129}, {64, 512, 100}};

TEST(BF16, RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(narrow<BF16>(1.0F).bits, 0x3f80);
  EXPECT_EQ(narrow<BF16>(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80) << "a tie goes to the even one";
  EXPECT_EQ(narrow<BF16>(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);
  EXPECT_EQ(narrow<BF16>(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_EQ(narrow<BF16>(-INFINITY).bits, 0xff80);
  EXPECT_EQ(narrow<BF16>(3.4e38F).bits, 0x7f80) << "beyond the largest is infinite";
  EXPECT_TRUE(std::isnan(widen(narrow<BF16>(std::bit_cast<float>(0x7f800001u)))));
}

TEST(BF16, LinearMatchesF64) {
  Stream stream;
  for (const auto [tokens, inputs, outputs] : kSizes) {
    Both x({tokens, inputs}, 1), dy({tokens, outputs}, 2), y({tokens, outputs}), dx({tokens, inputs});
    BothWide w({outputs, inputs}, 3), dw({outputs, inputs}, 4);
    linear_forward(y.narrow.tensor(), x.narrow.tensor(), w.narrow.tensor(), stream);
    linear_forward(y.wide.tensor(), x.wide.tensor(), w.wide.tensor(), stream);
    expect_near(y, "y");
    linear_backward_input(dx.narrow.tensor(), dy.narrow.tensor(), w.narrow.tensor(), false, stream);
    linear_backward_input(dx.wide.tensor(), dy.wide.tensor(), w.wide.tensor(), false, stream);
    expect_near(dx, "dx");
    linear_backward_weight(dw.narrow.tensor(), dy.narrow.tensor(), x.narrow.tensor(), stream);
    linear_backward_weight(dw.wide.tensor(), dy.wide.tensor(), x.wide.tensor(), stream);
    expect_near(dw, "dw");
  }
}

TEST(BF16, PackedWeightMatchesF64) {
  Stream stream;
  for (const auto [tokens, inputs, outputs] : kSizes) {
    Both x({tokens, inputs}, 1), dy({tokens, outputs}, 2), y({tokens, outputs}), dx({tokens, inputs});
    BothWide w({outputs, inputs}, 3);
    PackedWeights packed(outputs, inputs, DType::kBF16);
    if (!packed->has_forward()) GTEST_SKIP() << "this processor, or its library, has no fast bf16 products";
    packed->forward(y.narrow.tensor(), x.narrow.tensor(), w.narrow.tensor(), 0, stream);
    linear_forward(y.wide.tensor(), x.wide.tensor(), w.wide.tensor(), stream);
    expect_near(y, "y");
    packed->backward_input(dx.narrow.tensor(), dy.narrow.tensor(), w.narrow.tensor(), 0, stream);
    linear_backward_input(dx.wide.tensor(), dy.wide.tensor(), w.wide.tensor(), false, stream);
    expect_near(dx, "dx");
  }
}

TEST(BF16, RmsNormMatchesF64) {
  Stream stream;
  constexpr int64_t kTokens = 37, kHidden = 70;
  Both a({kTokens, kHidden}, 1), b({kTokens, kHidden}, 2), x({kTokens, kHidden}), y({kTokens, kHidden}),
      dy({kTokens, kHidden}, 3), dx({kTokens, kHidden}, 4);
  BothWide w({kHidden}, 5), dw({kHidden}, 6), rstd({kTokens});
  add_rms_norm_forward(y.narrow.tensor(), x.narrow.tensor(), rstd.narrow.tensor(), a.narrow.tensor(),
                       b.narrow.tensor(), w.narrow.tensor(), 1e-5, stream);
  add_rms_norm_forward(y.wide.tensor(), x.wide.tensor(), rstd.wide.tensor(), a.wide.tensor(), b.wide.tensor(),
                       w.wide.tensor(), 1e-5, stream);
  expect_near(x, "x");
  expect_near(y, "y");
  expect_near(rstd, "rstd");
  rms_norm_backward(dx.narrow.tensor(), dw.narrow.tensor(), dy.narrow.tensor(), x.narrow.tensor(),
                    rstd.narrow.tensor(), w.narrow.tensor(), stream);
  rms_norm_backward(dx.wide.tensor(), dw.wide.tensor(), dy.wide.tensor(), x.wide.tensor(), rstd.wide.tensor(),
                    w.wide.tensor(), stream);
  expect_near(dx, "dx");
  expect_near(dw, "dw");
}

TEST(BF16, SwigluMatchesF64) {
  Stream stream;
  constexpr int64_t kTokens = 21, kInner = 45;
  Both gate_up({kTokens, 2 * kInner}, 1), h({kTokens, kInner}), dh({kTokens, kInner}, 2),
      dgate_up({kTokens, 2 * kInner});
  swiglu_forward(h.narrow.tensor(), gate_up.narrow.tensor(), stream);
  swiglu_forward(h.wide.tensor(), gate_up.wide.tensor(), stream);
  expect_near(h, "h");
  swiglu_backward(dgate_up.narrow.tensor(), dh.narrow.tensor(), gate_up.narrow.tensor(), stream);
  swiglu_backward(dgate_up.wide.tensor(), dh.wide.tensor(), gate_up.wide.tensor(), stream);
  expect_near(dgate_up, "dgate_up");
}

// Where the exponential of a gate overflows or vanishes.
TEST(BF16, SwigluOfLargeGatesIsTheLimit) {
  Stream stream;
  constexpr int64_t kInner = 40;
  Values<BF16> gate_up({2, 2 * kInner}), dh({2, kInner}), h({2, kInner}), dgate_up({2, 2 * kInner});
  std::ranges::fill(gate_up.data(), narrow<BF16>(1));
  std::ranges::fill(dh.data(), narrow<BF16>(1));
  for (int64_t f = 0; f < kInner; ++f)
    gate_up[f] = narrow<BF16>(1e4F), gate_up[2 * kInner + f] = narrow<BF16>(-1e4F);
  swiglu_forward(h.tensor(), gate_up.tensor(), stream);
  swiglu_backward(dgate_up.tensor(), dh.tensor(), gate_up.tensor(), stream);
  for (int64_t f = 0; f < kInner; ++f) {
    EXPECT_EQ(h[f].bits, narrow<BF16>(1e4F).bits);
    EXPECT_NEAR(widen(h[kInner + f]), 0, 1e-30);
    EXPECT_EQ(widen(dgate_up[f]), 1);
    EXPECT_NEAR(widen(dgate_up[2 * kInner + f]), 0, 1e-30);
  }
}

TEST(BF16, AttentionAndRotaryMatchF64) {
  Stream stream;
  constexpr int64_t kTokens = 150, kHeads = 4, kKvHeads = 2, kSize = 16;
  constexpr int64_t kFirst = 97;  // the length of the first document
  Causal causal(starts_of({kFirst, kTokens - kFirst}));
  Values<int32_t> position({kTokens});
  for (int64_t t = 0; t < kTokens; ++t) position[t] = static_cast<int32_t>(t < kFirst ? t : t - kFirst);
  Both qkv({kTokens, (kHeads + 2 * kKvHeads) * kSize}, 1), o({kTokens, kHeads * kSize}),
      d_o({kTokens, kHeads * kSize}, 2), dqkv({kTokens, (kHeads + 2 * kKvHeads) * kSize});
  BothWide cosine({kTokens, kSize / 2}), sine({kTokens, kSize / 2}), lse({kHeads, kTokens}),
      delta({kHeads, kTokens});
  const auto run = [&](auto& q, auto& out, auto& d_out, auto& dq, auto& c, auto& s, auto& l, auto& d) {
    rotary_tables(c.tensor(), s.tensor(), 10000.0);
    const SeenKeys seen = causal.seen(q.tensor());
    rotary_forward(q.tensor(), c.tensor(), s.tensor(), position.tensor(), kHeads, kKvHeads, 0, stream);
    attention_forward(out.tensor(), l.tensor(), q.tensor(), seen, kHeads, kKvHeads, stream);
    attention_backward({dq.tensor(), dq.tensor(), d.tensor()}, d_out.tensor(), out.tensor(), l.tensor(),
                       q.tensor(), seen, kHeads, kKvHeads, stream);
    rotary_backward(dq.tensor(), c.tensor(), s.tensor(), position.tensor(), kHeads, kKvHeads, stream);
  };
  run(qkv.narrow, o.narrow, d_o.narrow, dqkv.narrow, cosine.narrow, sine.narrow, lse.narrow, delta.narrow);
  run(qkv.wide, o.wide, d_o.wide, dqkv.wide, cosine.wide, sine.wide, lse.wide, delta.wide);
  expect_near(qkv, "rotated qkv");
  expect_near(o, "o");
  expect_near(lse, "lse");
  expect_near(dqkv, "dqkv");
}

TEST(BF16, AttentionDecodeMatchesF64) {
  Stream stream;
  constexpr int64_t kCapacity = 40, kHeads = 4, kKvHeads = 2, kSize = 16;
  Both q({kHeads * kSize}, 1), keys({kCapacity, kKvHeads * kSize}, 2),
      values({kCapacity, kKvHeads * kSize}, 3), o({kHeads * kSize});
  attention_decode(o.narrow.tensor(), q.narrow.tensor(), keys.narrow.tensor(), values.narrow.tensor(), 31,
                   kHeads, kKvHeads, stream);
  attention_decode(o.wide.tensor(), q.wide.tensor(), keys.wide.tensor(), values.wide.tensor(), 31, kHeads,
                   kKvHeads, stream);
  expect_near(o, "o");
}

TEST(BF16, CrossEntropyMatchesF64) {
  Stream stream;
  constexpr int64_t kRows = 9, kVocabulary = 1500;
  Both logits({kRows, kVocabulary}, 1);
  BothWide weight({kRows}, 2);
  Values<double> loss({kRows}), wide_loss({kRows});
  Values<int32_t> target({kRows});
  for (int64_t row = 0; row < kRows; ++row) target[row] = static_cast<int32_t>(row == 4 ? -1 : row * 150);
  cross_entropy_forward_backward(loss.tensor(), logits.narrow.tensor(), target.tensor(),
                                 weight.narrow.tensor(), stream);
  cross_entropy_forward_backward(wide_loss.tensor(), logits.wide.tensor(), target.tensor(),
                                 weight.wide.tensor(), stream);
  expect_near(logits, "dlogits");
  for (int64_t row = 0; row < kRows; ++row) EXPECT_NEAR(loss[row], wide_loss[row], 1e-5);
}

TEST(BF16, EmbeddingTakesRowsOfAWideTableAndOfANarrowOne) {
  Stream stream;
  constexpr int64_t kTokens = 11, kHidden = 33, kVocabulary = 7;
  Values<int32_t> input({kTokens});
  for (int64_t t = 0; t < kTokens; ++t) input[t] = static_cast<int32_t>(t * t % kVocabulary);
  Both x({kTokens, kHidden}), dx({kTokens, kHidden}, 1), table({kVocabulary, kHidden}, 2);
  BothWide w({kVocabulary, kHidden}, 3), dw({kVocabulary, kHidden}, 4);
  embedding_forward(x.narrow.tensor(), w.narrow.tensor(), input.tensor(), stream);
  embedding_forward(x.wide.tensor(), w.wide.tensor(), input.tensor(), stream);
  expect_near(x, "x");
  embedding_backward(dw.narrow.tensor(), dx.narrow.tensor(), input.tensor(), stream);
  embedding_backward(dw.wide.tensor(), dx.wide.tensor(), input.tensor(), stream);
  expect_near(dw, "dw");
  embedding_forward(x.narrow.tensor(), table.narrow.tensor(), input.tensor(), stream);
  embedding_forward(x.wide.tensor(), table.wide.tensor(), input.tensor(), stream);
  expect_near(x, "x of a bf16 table");
}

TEST(BF16, BitsDoNotDependOnThreads) {
  Stream stream;
  constexpr int64_t kTokens = 300, kInputs = 70, kOutputs = 400;
  Both x({kTokens, kInputs}, 1), dy({kTokens, kOutputs}, 2);
  BothWide w({kOutputs, kInputs}, 3);
  expect_bits_independent_of_threads<uint16_t>([&] {
    Both y({kTokens, kOutputs}), dx({kTokens, kInputs});
    Values<float> dw({kOutputs, kInputs});
    PackedWeights packed(kOutputs, kInputs, DType::kBF16);
    if (packed->has_forward()) {
      packed->forward(y.narrow.tensor(), x.narrow.tensor(), w.narrow.tensor(), 0, stream);
      packed->backward_input(dx.narrow.tensor(), dy.narrow.tensor(), w.narrow.tensor(), 0, stream);
    }
    linear_backward_weight(dw.tensor(), dy.narrow.tensor(), x.narrow.tensor(), stream);
    std::vector<uint16_t> bits;
    for (const BF16 value : y.narrow.data()) bits.push_back(value.bits);
    for (const BF16 value : dx.narrow.data()) bits.push_back(value.bits);
    for (const float value : dw.data()) {
      bits.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
      bits.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value)));
    }
    return bits;
  });
}

}  // namespace
}  // namespace fern::testing
