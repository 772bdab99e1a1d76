#include "framework/train/weight_shares.h"

#include <algorithm>
#include <bit>

#include "framework/core/error.h"
#include "framework/model/matrix_share.h"

namespace fern {

namespace {

constexpr uint64_t kWordBits = 64;

std::vector<uint64_t> no_bits(int64_t blocks) {
  return std::vector<uint64_t>((static_cast<size_t>(blocks) + kWordBits - 1) / kWordBits);
}

uint64_t blocks_of_whole(const Parameter& share, BlockShape block) {
  return static_cast<uint64_t>(share.whole_shape().elements() / block.elements());
}

void set_bit(std::vector<uint64_t>& bits, uint64_t position) {
  bits[position / kWordBits] |= uint64_t{1} << (position % kWordBits);
}

template <typename Visit>
void for_each_bit(std::span<const uint64_t> bits, const Visit& visit) {
  for (size_t word = 0; word < bits.size(); ++word)
    for (uint64_t left = bits[word]; left != 0; left &= left - 1)
      visit(word * kWordBits + static_cast<uint64_t>(std::countr_zero(left)));
}

std::vector<uint16_t> joined_generations(const Pattern& pattern, std::span<const Parameter> shares,
                                         std::span<const WeightRecord> records) {
  const bool has_any =
      std::ranges::any_of(records, [](const WeightRecord& r) { return !r.generation.empty(); });
  std::vector<uint16_t> whole(has_any ? static_cast<size_t>(pattern.nonzeros()) : 0);
  for (size_t i = 0; i < records.size() && has_any; ++i)
    put_share<uint16_t>(whole, records[i].generation, shares[i], pattern);
  return whole;
}

// The best of all that shares have kept.
std::vector<uint64_t> joined_scores(const Method& method, size_t weight, std::span<const Parameter> shares,
                                    std::span<const WeightRecord> records) {
  if (std::ranges::all_of(records, [](const WeightRecord& r) { return r.scores.empty(); })) return {};
  const SparseWeight& whole = method.setup().weights[weight];
  GrowthScores best = method.growth_scores(weight, whole);
  for (size_t i = 0; i < records.size(); ++i) {
    const SharePlace place(shares[i], whole.block);
    std::vector<uint64_t> worths;
    for (const uint64_t worth : records[i].scores)
      worths.push_back(moved_to(worth, place.in_whole(position_of(worth))));
    best.offer(worths);
  }
  return best.state();
}

std::vector<uint64_t> joined_ever_active(const SparseWeight& weight, std::span<const Parameter> shares,
                                         std::span<const WeightRecord> records) {
  if (records.front().ever_active.empty()) return {};
  std::vector<uint64_t> whole = no_bits(weight.blocks());
  for (size_t i = 0; i < records.size(); ++i) {
    const SharePlace place(shares[i], weight.block);
    for_each_bit(records[i].ever_active, [&](uint64_t here) { set_bit(whole, place.in_whole(here)); });
  }
  return whole;
}

}  // namespace

WeightRecord joined(const Method& method, size_t weight, std::span<const Parameter> shares,
                    std::span<const WeightRecord> records) {
  WeightRecord whole;
  if (records.front().pattern.rows() > 0) {
    std::vector<Pattern> patterns;
    for (const WeightRecord& record : records) patterns.push_back(record.pattern);
    whole.pattern = joined(patterns, shares.front().place.dimension);
    whole.generation = joined_generations(whole.pattern, shares, records);
  }
  whole.scores = joined_scores(method, weight, shares, records);
  whole.ever_active = joined_ever_active(method.setup().weights[weight], shares, records);
  return whole;
}

std::vector<uint64_t> scores_of_share(std::span<const uint64_t> whole, const Parameter& share,
                                      BlockShape block) {
  const SharePlace place(share, block);
  const uint64_t blocks = blocks_of_whole(share, block);
  std::vector<uint64_t> scores;
  for (const uint64_t worth : whole) {
    expect(position_of(worth) < blocks, "[weight_shares] {}: expected positions below {}, got {}", share.name,
           blocks, position_of(worth));
    if (const auto here = place.in_share(position_of(worth))) scores.push_back(moved_to(worth, *here));
  }
  return scores;
}

std::vector<uint64_t> ever_active_of_share(std::span<const uint64_t> whole, const Parameter& share,
                                           BlockShape block) {
  const SharePlace place(share, block);
  const size_t words = no_bits(static_cast<int64_t>(blocks_of_whole(share, block))).size();
  expect(whole.size() == words, "[weight_shares] {}: expected {} words of bits, got {}", share.name, words,
         whole.size());
  std::vector<uint64_t> bits = no_bits(share.shape.elements() / block.elements());
  for_each_bit(whole, [&](uint64_t there) {
    if (const auto here = place.in_share(there)) set_bit(bits, *here);
  });
  return bits;
}

}  // namespace fern
