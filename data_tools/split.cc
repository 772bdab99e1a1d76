#include "data_tools/split.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <array>

#include "framework/core/rng.h"

namespace fern {

std::string_view split_name(Split split) {
  constexpr std::array<std::string_view, kSplits> names = {"train", "valid", "test"};
  return names[static_cast<size_t>(split)];
}

std::string normalised(std::string_view text) {
  constexpr uint32_t kept = U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK;
  std::string result;
  bool gap = false;
  for (size_t at = 0; at < text.size();) {
    UChar32 character = 0;
    U8_NEXT(text.data(), at, text.size(), character);
    if (character < 0 || !(U_GET_GC_MASK(character) & kept)) {
      gap = !result.empty();
      continue;
    }
    if (gap) result += ' ';
    gap = false;
    std::array<char, U8_MAX_LENGTH> bytes{};
    int32_t length = 0;
    U8_APPEND_UNSAFE(bytes.data(), length, u_foldCase(character, U_FOLD_CASE_DEFAULT));
    result.append(bytes.data(), static_cast<size_t>(length));
  }
  return result.empty() ? std::string(text) : result;
}

Split split_of(uint64_t key, double valid_percent, double test_percent) {
  const double place = 100 * random_uniform(0, Purpose::kSplit, key);
  if (place < test_percent) return Split::kTest;
  return place < test_percent + valid_percent ? Split::kValid : Split::kTrain;
}

}  // namespace fern
