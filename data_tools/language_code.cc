#include "data_tools/language_code.h"

#include <unicode/localebuilder.h>
#include <unicode/locid.h>
#include <unicode/uloc.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

namespace fern {
namespace {

// Codes that mean something else than ICU would read in them. An empty tag refuses the code.
const std::map<std::string, std::string, std::less<>>& exceptions() {
  static const std::map<std::string, std::string, std::less<>> table = {
      // MediaWiki, from before there were codes for these, or with another meaning than ISO 639.
      {"als", "gsw"},
      {"bat-smg", "sgs"},
      {"be-x-old", "be-tarask"},
      {"cbk-zam", "cbk"},
      {"fiu-vro", "vro"},
      {"map-bms", "jv-x-bms"},
      {"mo", "ro-Cyrl-MD"},
      {"nrm", "nrf"},
      {"roa-rup", "rup"},
      {"roa-tara", "nap-x-tara"},
      {"simple", "en-simple"},
      {"sr-ec", "sr-Cyrl"},
      {"sr-el", "sr-Latn"},
      {"tokipona", "tok"},
      {"zh-classical", "lzh"},
      {"zh-min-nan", "nan"},
      {"zh-yue", "yue"},
      // Two names for one thing.
      {"no", "nb"},
      {"tl", "fil"},
      // Styles of address: a few strings that differ from the language itself.
      {"de-formal", ""},
      {"es-formal", ""},
      {"hu-formal", ""},
      {"nl-informal", ""},
      // Names of nothing.
      {"c", ""},
      {"posix", ""},
      {"art", ""},
      {"mis", ""},
      {"mul", ""},
      {"und", ""},
      {"zxx", ""},
  };
  return table;
}

// What follows "@" in a POSIX locale, as subtags. An empty one refuses the locale.
const std::map<std::string, std::string, std::less<>>& modifiers() {
  static const std::map<std::string, std::string, std::less<>> table = {
      {"arabic", "Arab"},
      {"cyrillic", "Cyrl"},
      {"devanagari", "Deva"},
      {"latin", "Latn"},
      {"latn", "Latn"},
      {"cyrl", "Cyrl"},
      {"shaw", "Shaw"},
      {"iqtelif", "Latn"},
      {"ije", "ijekavsk"},
      {"ijekavian", "ijekavsk"},
      {"ijekavianlatin", "Latn-ijekavsk"},
      {"valencia", "valencia"},
      {"tarask", "tarask"},
      {"euro", "-"},
      {"saaho", "x-saaho"},
      {"abegede", "x-abegede"},
      {"quot", ""},
      {"boldquot", ""},
  };
  return table;
}

// Where catalogues mean another default than CLDR's likely subtags.
struct Default {
  std::string script, region;
};
const std::map<std::string, Default, std::less<>>& defaults() {
  static const std::map<std::string, Default, std::less<>> table = {{"crh", {"Latn", ""}},
                                                                    {"pt", {"", "PT"}}};
  return table;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

// "sr_RS.UTF-8@latin" -> "sr-rs-latn"; nothing when the modifier is unknown.
std::optional<std::string> tag_of_locale(std::string_view code) {
  std::string text = lower(code);
  std::replace(text.begin(), text.end(), '_', '-');
  const size_t at = text.find('@');
  const std::string modifier = at == std::string::npos ? "" : text.substr(at + 1);
  const std::string locale = text.substr(0, std::min(text.find('.'), at));
  if (modifier.empty()) return locale;
  const auto found = modifiers().find(modifier);
  if (found == modifiers().end() || found->second.empty()) return std::nullopt;
  if (found->second == "-") return locale;
  const size_t language_end = std::min(locale.find('-'), locale.size());
  const bool is_script = std::isupper(static_cast<unsigned char>(found->second[0])) != 0;
  if (is_script) return locale.substr(0, language_end) + "-" + found->second + locale.substr(language_end);
  return locale + "-" + found->second;
}

// The table applied to the whole tag, else to its language.
std::string without_exceptions(const std::string& tag) {
  if (const auto found = exceptions().find(tag); found != exceptions().end()) return found->second;
  const size_t language_end = std::min(tag.find('-'), tag.size());
  const auto found = exceptions().find(tag.substr(0, language_end));
  return found == exceptions().end() ? tag : found->second + tag.substr(language_end);
}

bool is_known(const std::string& language) {
  static const std::set<std::string, std::less<>> two_letters = [] {
    std::set<std::string, std::less<>> codes = {"sh", "iw", "in", "ji"};
    for (const char* const* code = uloc_getISOLanguages(); *code != nullptr; ++code) codes.insert(*code);
    return codes;
  }();
  if (language.size() == 2) return two_letters.contains(language);
  return language.size() == 3 && !(language >= "qaa" && language <= "qtz");
}

// `locale` with these script and region.
icu::Locale with(const icu::Locale& locale, const std::string& script, const std::string& region) {
  UErrorCode status = U_ZERO_ERROR;
  return icu::LocaleBuilder().setLocale(locale).setScript(script).setRegion(region).build(status);
}

// The locale with its likely script and region filled in.
icu::Locale maximised(const icu::Locale& locale) {
  std::string script = locale.getScript();
  std::string region = locale.getCountry();
  if (const auto found = defaults().find(std::string_view(locale.getLanguage())); found != defaults().end()) {
    if (script.empty()) script = found->second.script;
    if (region.empty()) region = found->second.region;
  }
  icu::Locale result = with(locale, script, region);
  UErrorCode status = U_ZERO_ERROR;
  result.addLikelySubtags(status);
  return result;
}

// The shortest tag that means the same; of two as short, the one with a script.
icu::Locale minimised(const icu::Locale& locale) {
  if (*locale.getScript() == '\0' && *locale.getCountry() == '\0') return locale;
  const icu::Locale whole = maximised(locale);
  for (const icu::Locale& shorter :
       {with(locale, "", ""), with(locale, whole.getScript(), ""), with(locale, "", whole.getCountry())})
    if (maximised(shorter) == whole) return shorter;
  return locale;
}

}  // namespace

std::optional<std::string> normalise_language(std::string_view code) {
  std::optional<std::string> tag = tag_of_locale(code);
  if (!tag) return std::nullopt;
  tag = without_exceptions(*tag);
  UErrorCode status = U_ZERO_ERROR;
  const icu::Locale locale = icu::LocaleBuilder().setLanguageTag(*tag).build(status);
  if (U_FAILURE(status) || !is_known(locale.getLanguage())) return std::nullopt;
  const std::string result = minimised(locale).toLanguageTag<std::string>(status);
  if (U_FAILURE(status)) return std::nullopt;
  return result;
}

std::string script_of_language(const std::string& tag) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Locale locale = icu::LocaleBuilder().setLanguageTag(tag).build(status);
  return U_FAILURE(status) ? "" : maximised(locale).getScript();
}

}  // namespace fern
