// Is this text UTF-8? Asked wherever text comes in, so that the message can say where it is not.
#pragma once

#include <optional>
#include <string_view>

namespace fern {

// Byte offset of the first ill-formed sequence (Unicode 15, table 3-7); nothing when all is well.
std::optional<size_t> first_invalid_utf8(std::string_view text);

// The longest prefix of `text` that is at most `bytes` long and ends at a character. REQUIRES valid UTF-8,
// bytes >= 4.
std::string_view utf8_prefix(std::string_view text, size_t bytes);

}  // namespace fern
