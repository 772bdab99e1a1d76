#include "data_tools/language_name.h"

#include <unicode/uloc.h>
#include <unicode/ustring.h>

#include <array>

namespace fern {

std::string language_name(const std::string& code) {
  std::array<char, ULOC_FULLNAME_CAPACITY> locale{};
  UErrorCode status = U_ZERO_ERROR;
  uloc_forLanguageTag(code.c_str(), locale.data(), locale.size(), nullptr, &status);
  std::array<UChar, 256> name{};
  uloc_getDisplayName(locale.data(), "en", name.data(), name.size(), &status);
  std::array<char, 768> utf8{};
  int32_t length = 0;
  u_strToUTF8(utf8.data(), utf8.size(), &length, name.data(), -1, &status);
  return U_FAILURE(status) || length == 0 ? code : std::string(utf8.data(), static_cast<size_t>(length));
}

}  // namespace fern
