// Cleaning: what is taken off a raw segment, and which segments are left out. Rules in the order they apply:
//   1. broken characters (U+FFFD, private use, not a character) leave the segment out;
//   2. kMediawiki: templates, links, quotes, lists (clean_wiki.h); one that cannot be read leaves it out;
//   3. kGettext: "context|text" loses its context, accelerators their marker (clean_accelerator.h);
//   4. kGettext, kMediawiki: HTML tags and entities (clean_markup.h);
//   5. control characters, soft hyphens and byte order marks go, white space folds (clean_characters.h);
//   6. nothing left, or a message for the program only (translator-credits, code);
//   7. text equal to the English, except names of countries and languages of at most two words;
//   8. placeholders that differ between the two (clean_placeholder.h);
//   9. fewer than half of the characters are letters outside placeholders;
//  10. most letters in another script than the language's;
//  11. lengths too far apart: (a + 10) / (b + 10) characters beyond 4 either way.
// 7, 8 and 11 need an English side. kPlain text is the user's own: 2, 3, 4 and 9 do not touch it.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "data_tools/segment.h"

namespace fern {

enum class TextStyle { kPlain, kGettext, kMediawiki };

enum class Drop {
  kBrokenCharacters,
  kUnreadableMarkup,
  kEmpty,
  kNotForReaders,
  kSameAsEnglish,
  kPlaceholdersDiffer,
  kMostlySymbols,
  kWrongScript,
  kLengthRatio,
  kDuplicate,
  kOverLimit,
};
constexpr int kDropReasons = 11;

// "same as English", for the summary and collection.json.
std::string_view drop_name(Drop reason);

// Cleans `segment` in place, all but its note. Nothing when it is kept, else why it is left out.
// REQUIRES: language is a BCP 47 tag. Strings need not be UTF-8: what is not counts as broken.
std::optional<Drop> clean(Segment& segment, TextStyle style);

// The English explanation of a message, from a qqq.json: templates that only classify are dropped, references
// keep their name, the "See also" list goes. "" when fewer than three words are left.
std::string clean_note(std::string_view note);

}  // namespace fern
