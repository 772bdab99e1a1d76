// A .mo file for tests, in either byte order.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace fern {

// `messages` are (original, translation) with '\x04' and '\0' already inside.
inline std::string make_mo(const std::vector<std::pair<std::string, std::string>>& messages,
                           bool swapped = false) {
  const auto word = [&](uint64_t value) {
    auto bits = static_cast<uint32_t>(value);
    if (swapped) bits = __builtin_bswap32(bits);
    std::string bytes(4, '\0');
    std::memcpy(bytes.data(), &bits, 4);
    return bytes;
  };
  const size_t count = messages.size();
  const size_t strings_begin = 28 + 16 * count;
  std::string originals, translations, strings;
  const auto add = [&](std::string& table, const std::string& text) {
    table += word(text.size()) + word(strings_begin + strings.size());
    strings += text + '\0';
  };
  for (const auto& message : messages) add(originals, message.first);
  for (const auto& message : messages) add(translations, message.second);
  return word(0x950412de) + word(0) + word(count) + word(28) + word(28 + 8 * count) + word(0) + word(0) +
         originals + translations + strings;
}

}  // namespace fern
