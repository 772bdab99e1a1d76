#include "framework/train/topology_metrics.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "framework/core/error.h"

namespace fern {

namespace {

// A parameter's gradients chunk by chunk of the flat buffer: a chunk is whole on the one process that counts
// it.
int64_t first_chunk(const Parameter& parameter) { return parameter.offset / kParameterChunk; }
int64_t end_chunk(const Parameter& parameter) {
  return (parameter.offset + parameter.elements() + kParameterChunk - 1) / kParameterChunk;
}
// The most of them, wherever it begins, and of any share of it.
size_t most_chunks(const Parameter& parameter) {
  return static_cast<size_t>(parameter.elements() / kParameterChunk + 2);
}

double square_sum(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum;
}

// Of the chunks that are counted here; each has a slot.
void add_squares(std::span<double> squares, const Parameters& parameters, const Parameter& parameter,
                 const Slices& counted) {
  if (!parameter.place.counted) return;
  const std::span<const float> gradients = parameters.gradients().values<float>();
  const Slice all = {parameter.offset, parameter.offset + parameter.elements()};
  for (int64_t chunk = first_chunk(parameter); chunk < end_chunk(parameter); ++chunk)
    counted.for_each_in(intersection(all, {chunk * kParameterChunk, (chunk + 1) * kParameterChunk}),
                        [&](Slice ours, int64_t) {
                          squares[static_cast<size_t>(chunk - first_chunk(parameter))] =
                              square_sum(gradients.subspan(static_cast<size_t>(ours.begin),
                                                           static_cast<size_t>(ours.elements())));
                        });
}

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

int64_t sum_of(const std::vector<WeightMetrics>& weights, int64_t WeightMetrics::*member) {
  int64_t sum = 0;
  for (const WeightMetrics& weight : weights) sum += weight.*member;
  return sum;
}

}  // namespace

double SparsityMetrics::density() const {
  return share(sum_of(weights, &WeightMetrics::nonzeros), sum_of(weights, &WeightMetrics::elements));
}
double SparsityMetrics::churn() const {
  return share(sum_of(weights, &WeightMetrics::grown), sum_of(weights, &WeightMetrics::nonzeros));
}
double SparsityMetrics::ever_active() const {
  return share(sum_of(weights, &WeightMetrics::ever_active), sum_of(weights, &WeightMetrics::elements));
}
double SparsityMetrics::gradient_flow() const {
  double sum = 0;
  for (const WeightMetrics& weight : weights) sum += weight.gradient_norm;
  return weights.empty() ? 0 : sum / static_cast<double>(weights.size());
}

EverActive::EverActive(int64_t rows, int64_t columns, BlockShape block)
    : block_columns_(columns / block.columns),
      block_elements_(block.elements()),
      bits_(static_cast<size_t>((rows / block.rows * block_columns_ + 63) / 64)) {}

void EverActive::add(const Pattern& pattern) {
  for (int64_t row = 0; row < pattern.block_rows(); ++row)
    for (const uint16_t column : pattern.row(row)) {
      const auto place = static_cast<uint64_t>(row * block_columns_ + column);
      bits_[place / 64] |= uint64_t{1} << (place % 64);
    }
}

int64_t EverActive::weights() const {
  int64_t blocks = 0;
  for (const uint64_t word : bits_) blocks += std::popcount(word);
  return blocks * block_elements_;
}

void EverActive::restore(const std::vector<uint64_t>& bits) {
  expect(bits.size() == bits_.size(), "[ever_active] expected {} words of bits, got {}", bits_.size(),
         bits.size());
  bits_ = bits;
}

ActiveNeurons active_neurons(const Pattern& pattern) {
  std::vector<bool> columns(static_cast<size_t>(pattern.block_columns()));
  ActiveNeurons active;
  for (int64_t row = 0; row < pattern.block_rows(); ++row) {
    if (!pattern.row(row).empty()) active.rows += pattern.block().rows;
    for (const uint16_t column : pattern.row(row)) columns[column] = true;
  }
  active.columns = pattern.block().columns * std::ranges::count(columns, true);
  return active;
}

std::vector<double> gradient_norms(const Parameters& parameters, const Parameters& whole,
                                   std::span<const int> indices, const Slices& counted, ShareNumber share,
                                   ScalarReducer& scalars) {
  std::vector<double> squares;
  std::vector<size_t> ends;
  for (const int index : indices) {
    const Parameter& in_whole = whole.list()[static_cast<size_t>(index)];
    const size_t begin = squares.size(), slots = most_chunks(in_whole);
    squares.resize(begin + slots * static_cast<size_t>(share.shares));
    ends.push_back(squares.size());
    const int here = parameters.find(in_whole.name);
    if (here >= 0)
      add_squares(std::span(squares).subspan(begin + slots * static_cast<size_t>(share.share), slots),
                  parameters, parameters.list()[static_cast<size_t>(here)], counted);
  }
  scalars.sum(squares);
  std::vector<double> norms;
  size_t slot = 0;
  for (const size_t end : ends) {
    double sum = 0;
    for (; slot < end; ++slot) sum += squares[slot];
    norms.push_back(std::sqrt(sum));
  }
  return norms;
}

}  // namespace fern
