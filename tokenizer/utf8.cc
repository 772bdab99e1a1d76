#include "tokenizer/utf8.h"

#include <unicode/utf8.h>

namespace fern {

std::optional<size_t> first_invalid_utf8(std::string_view text) {
  const char* bytes = text.data();
  const size_t size = text.size();
  for (size_t at = 0; at < size;) {
    const size_t start = at;
    UChar32 character = 0;
    U8_NEXT(bytes, at, size, character);
    if (character < 0) return start;
  }
  return std::nullopt;
}

std::string_view utf8_prefix(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  size_t end = bytes;
  while (end > 0 && U8_IS_TRAIL(static_cast<uint8_t>(text[end]))) --end;
  return text.substr(0, end);
}

}  // namespace fern
