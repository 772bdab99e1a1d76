#include "data_tools/clean.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "data_tools/clean_accelerator.h"
#include "data_tools/clean_characters.h"
#include "data_tools/clean_markup.h"
#include "data_tools/clean_placeholder.h"
#include "data_tools/clean_wiki.h"

namespace fern {
namespace {

constexpr std::array<std::string_view, kDropReasons> kDropNames = {"broken characters",
                                                                   "markup without plain text",
                                                                   "empty",
                                                                   "not for readers",
                                                                   "same as English",
                                                                   "placeholders differ",
                                                                   "mostly symbols",
                                                                   "wrong script",
                                                                   "lengths far apart",
                                                                   "duplicate",
                                                                   "over --max-per-language"};

constexpr int64_t kLengthSlack = 10;
constexpr int64_t kLengthRatio = 4;

// "Stock label|_Open": before msgctxt, contexts stood in the message. The translation leaves them out.
void drop_inline_context(Segment& segment) {
  const size_t bar = segment.english.find('|');
  if (bar == std::string::npos || bar == 0 || segment.english.find('|', bar + 1) != std::string::npos) return;
  if (segment.text.find('|') != std::string::npos) return;
  if (segment.key.empty()) segment.key = segment.english.substr(0, bar);
  segment.english.erase(0, bar + 1);
}

// Messages that only the program or its credits page reads.
bool is_not_for_readers(const Segment& segment, TextStyle style) {
  if (style == TextStyle::kMediawiki) return segment.key.starts_with("accesskey-");
  static constexpr std::array<std::string_view, 4> kCredits = {"translator-credits", "translator_credits",
                                                               "Your names", "Your emails"};
  return std::find(kCredits.begin(), kCredits.end(), segment.english) != kCredits.end();
}

bool strip_style(Segment& segment, TextStyle style) {
  if (style == TextStyle::kPlain) return true;
  if (style == TextStyle::kMediawiki) {
    const auto english = strip_wiki(segment.english);
    const auto text = strip_wiki(segment.text);
    if (!english || !text) return false;
    segment.english = *english;
    segment.text = *text;
  } else {
    drop_inline_context(segment);
    drop_accelerators(segment.english, segment.text);
  }
  segment.english = decode_entities(strip_tags(segment.english));
  segment.text = decode_entities(strip_tags(segment.text));
  return true;
}

bool is_mostly_symbols(std::string_view text) {
  const int64_t letters = count_characters(without_placeholders(text)).letters;
  return letters * 2 < count_characters(text).visible || letters == 0;
}

bool lengths_are_far_apart(const Segment& segment) {
  const int64_t a = count_characters(segment.english).all + kLengthSlack;
  const int64_t b = count_characters(segment.text).all + kLengthSlack;
  return a > kLengthRatio * b || b > kLengthRatio * a;
}

// "Kenya" is a translation; "British Antarctic Territory" was left untranslated.
bool may_equal_english(const Segment& segment) {
  constexpr int64_t kMostWords = 2;
  const bool name = segment.kind == SegmentKind::kCountry || segment.kind == SegmentKind::kLanguage;
  return name && std::count(segment.text.begin(), segment.text.end(), ' ') < kMostWords;
}

std::optional<Drop> check_pair(const Segment& segment) {
  if (segment.english == segment.text && !may_equal_english(segment)) return Drop::kSameAsEnglish;
  if (!same_placeholders(segment.english, segment.text)) return Drop::kPlaceholdersDiffer;
  return std::nullopt;
}

}  // namespace

std::string_view drop_name(Drop reason) { return kDropNames.at(static_cast<size_t>(reason)); }

std::optional<Drop> clean(Segment& segment, TextStyle style) {
  const bool paired = !segment.english.empty();
  if (has_broken_characters(segment.text) || has_broken_characters(segment.english) ||
      has_broken_characters(segment.key))
    return Drop::kBrokenCharacters;
  if (!strip_style(segment, style)) return Drop::kUnreadableMarkup;
  segment.english = fold_space(segment.english);
  segment.text = fold_space(segment.text);
  segment.key = fold_space(segment.key);
  if (segment.text.empty() || (paired && segment.english.empty())) return Drop::kEmpty;
  if (is_not_for_readers(segment, style)) return Drop::kNotForReaders;
  if (paired)
    if (const auto reason = check_pair(segment)) return reason;
  if (style != TextStyle::kPlain &&
      (is_mostly_symbols(segment.text) || (paired && is_mostly_symbols(segment.english))))
    return Drop::kMostlySymbols;
  if (in_wrong_script(without_placeholders(segment.text), segment.language)) return Drop::kWrongScript;
  if (paired && lengths_are_far_apart(segment)) return Drop::kLengthRatio;
  return std::nullopt;
}

std::string clean_note(std::string_view note) {
  constexpr int64_t kFewestWords = 3;
  if (has_broken_characters(note)) return {};
  const std::string_view kept = note.substr(0, note.find("See also"));
  std::string text = fold_space(decode_entities(strip_tags(strip_wiki_note(kept))));
  while (!text.empty() && std::string_view(" *:;#").find(text.back()) != std::string_view::npos)
    text.pop_back();
  return std::count(text.begin(), text.end(), ' ') + 1 < kFewestWords ? "" : text;
}

}  // namespace fern
