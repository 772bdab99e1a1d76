// The sampler: a pure function (seed, step, slot) -> language and sequence. No state, no shuffle buffer, no
// ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace fern {

// Where one slot of one step comes from.
struct Draw {
  int32_t language = 0;  // index into the sampler's languages
  int64_t sequence = 0;  // index among that language's sequences
  int64_t epoch = 0;     // which pass over that language this is, from 0
};

// Languages come in a low-discrepancy order (Tijdeman 1980, the chairman assignment problem): after any
// number n of draws each language has been drawn within one of n * share(l). Shares are rounded to multiples
// of 2^-18 (at least one for a positive share), so the order repeats with that period and any draw is found
// in O(1). Within a language, each epoch is a keyed permutation of its sequences.
class Sampler {
 public:
  // shares and sequences are per language; batch is sequences per step.
  // Errors (kBadUsage): a language with a share but no sequences, no language with a share or more than 2^14,
  // a negative share, a batch below 1.
  Sampler(uint64_t seed, std::vector<double> shares, std::vector<int64_t> sequences, int64_t batch);
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;

  // REQUIRES step >= 0, 0 <= slot < batch().
  Draw draw(int64_t step, int64_t slot) const;
  // How many of the first n draws (n = step * batch + slot) fall on each language.
  std::vector<int64_t> counts_after(int64_t draws) const;
  // The shares after rounding: the plan that counts are held to.
  const std::vector<double>& shares() const;
  int64_t batch() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fern
