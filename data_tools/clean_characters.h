// Characters: what is broken, what is invisible, what is a letter and of which script.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fern {

// True when `text` is not UTF-8 or holds U+FFFD, a private-use character or a code point that is no
// character.
bool has_broken_characters(std::string_view text);

// Drops control characters, soft hyphens and byte order marks; each run of white space (Unicode White_Space)
// becomes one space, none at the ends. Joiners, direction marks and zero-width spaces stay: scripts need
// them.
std::string fold_space(std::string_view text);

struct CharacterCounts {
  int64_t all = 0;      // code points
  int64_t visible = 0;  // not white space
  int64_t letters = 0;  // letters and the marks on them
};
CharacterCounts count_characters(std::string_view text);

// True when more than half of the letters in `text` belong to another script than the language's likely one
// (language_code.h), or one of the others in use for it. A Han, kana or hangul letter counts for two, since
// it says as much. False when the language's script is unknown or there are no letters.
bool in_wrong_script(std::string_view text, const std::string& language);

}  // namespace fern
