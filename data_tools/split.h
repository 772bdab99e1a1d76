// Which split a text belongs to: decided by its English source string, so that no message is trained on in
// one language and tested in another. It depends on the text alone, never on a seed: every run of a recipe,
// and every recipe, holds out the same messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fern {

enum class Split { kTrain, kValid, kTest };
inline constexpr int kSplits = 3;
std::string_view split_name(Split split);  // also the folder

// Letters, marks and digits of the text, case folded, one space where anything else stood: "_Open…" and
// "open" meet. The text itself when nothing is left. REQUIRES UTF-8.
std::string normalised(std::string_view text);

// `key` is a hash of the normalised English. Percents are of English source strings.
Split split_of(uint64_t key, double valid_percent, double test_percent);

}  // namespace fern
