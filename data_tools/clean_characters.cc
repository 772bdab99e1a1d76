#include "data_tools/clean_characters.h"

#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <map>
#include <vector>

#include "data_tools/language_code.h"

namespace fern {
namespace {

constexpr UChar32 kSoftHyphen = 0xAD;
constexpr UChar32 kByteOrderMark = 0xFEFF;

// Calls `visit(code point, its bytes)`; a bad byte gives a negative code point.
template <typename Visit>
void for_each_character(std::string_view text, const Visit& visit) {
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    const int64_t begin = i;
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    visit(c, text.substr(static_cast<size_t>(begin), static_cast<size_t>(i - begin)));
  }
}

bool is_letter_or_mark(UChar32 c) { return (U_GET_GC_MASK(c) & (U_GC_L_MASK | U_GC_M_MASK)) != 0; }

// Scripts that catalogues write a language in, beside CLDR's likely one.
std::vector<UScriptCode> other_scripts(const std::string& language) {
  static const std::map<std::string, std::vector<UScriptCode>, std::less<>> table = {
      {"arc", {USCRIPT_SYRIAC}},
      {"brh", {USCRIPT_LATIN}},
      {"grc", {USCRIPT_GREEK}},
      {"hak", {USCRIPT_LATIN}},
      {"iu", {USCRIPT_LATIN}},
      {"kaa", {USCRIPT_LATIN}},
      {"lad", {USCRIPT_LATIN}},
      {"mni", {USCRIPT_MEITEI_MAYEK}},
      {"nan", {USCRIPT_LATIN}},
      {"rif", {USCRIPT_LATIN}},
      {"ryu", {USCRIPT_HAN, USCRIPT_HIRAGANA}},
      {"shi", {USCRIPT_LATIN}},
      {"syl", {USCRIPT_SYLOTI_NAGRI}},
      {"tzm", {USCRIPT_TIFINAGH}},
      {"wal", {USCRIPT_LATIN}},
  };
  const auto found = table.find(language);
  return found == table.end() ? std::vector<UScriptCode>{} : found->second;
}

std::vector<UScriptCode> scripts_of_code(const std::string& code) {
  if (code.empty()) return {};
  if (code == "Hans" || code == "Hant" || code == "Hani") return {USCRIPT_HAN, USCRIPT_BOPOMOFO};
  if (code == "Jpan") return {USCRIPT_HAN, USCRIPT_HIRAGANA, USCRIPT_KATAKANA};
  if (code == "Kore") return {USCRIPT_HANGUL, USCRIPT_HAN};
  const int32_t value = u_getPropertyValueEnum(UCHAR_SCRIPT, code.c_str());
  return value < 0 ? std::vector<UScriptCode>{} : std::vector{static_cast<UScriptCode>(value)};
}

const std::vector<UScriptCode>& scripts_of(const std::string& language) {
  thread_local std::map<std::string, std::vector<UScriptCode>, std::less<>> known;
  if (const auto found = known.find(language); found != known.end()) return found->second;
  std::vector<UScriptCode> scripts = scripts_of_code(script_of_language(language));
  if (!scripts.empty())
    for (const UScriptCode other : other_scripts(language)) scripts.push_back(other);
  return known[language] = scripts;
}

int64_t weight_of(UScriptCode script) {
  return script == USCRIPT_HAN || script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA ||
                 script == USCRIPT_HANGUL
             ? 2
             : 1;
}

}  // namespace

bool has_broken_characters(std::string_view text) {
  bool broken = false;
  for_each_character(text, [&](UChar32 c, std::string_view) {
    broken = broken || c < 0 || c == 0xFFFD || !u_isdefined(c) || u_charType(c) == U_PRIVATE_USE_CHAR;
  });
  return broken;
}

std::string fold_space(std::string_view text) {
  std::string result;
  bool space_before = false;
  for_each_character(text, [&](UChar32 c, std::string_view bytes) {
    if (u_isUWhiteSpace(c)) {
      space_before = !result.empty();
      return;
    }
    if (u_charType(c) == U_CONTROL_CHAR || c == kSoftHyphen || c == kByteOrderMark) return;
    if (space_before) result += ' ';
    space_before = false;
    result += bytes;
  });
  return result;
}

CharacterCounts count_characters(std::string_view text) {
  CharacterCounts counts;
  for_each_character(text, [&](UChar32 c, std::string_view) {
    ++counts.all;
    if (!u_isUWhiteSpace(c)) ++counts.visible;
    if (is_letter_or_mark(c)) ++counts.letters;
  });
  return counts;
}

bool in_wrong_script(std::string_view text, const std::string& language) {
  const std::vector<UScriptCode>& expected = scripts_of(language);
  if (expected.empty()) return false;
  int64_t right = 0;
  int64_t wrong = 0;
  for_each_character(text, [&](UChar32 c, std::string_view) {
    UErrorCode status = U_ZERO_ERROR;
    const UScriptCode script = uscript_getScript(c, &status);
    if (script == USCRIPT_COMMON || script == USCRIPT_INHERITED || !is_letter_or_mark(c)) return;
    const bool matches = std::find(expected.begin(), expected.end(), script) != expected.end();
    (matches ? right : wrong) += weight_of(script);
  });
  return wrong > right;
}

}  // namespace fern
