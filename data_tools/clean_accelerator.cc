#include "data_tools/clean_accelerator.h"

#include <cctype>
#include <string_view>

namespace fern {
namespace {

constexpr std::string_view kMarkers = "_&~";

bool is_word(char c) {
  return static_cast<unsigned char>(c) >= 128 || std::isalnum(static_cast<unsigned char>(c)) != 0;
}

// Position of the only marker when it stands before a letter or digit, else npos.
size_t only_marker(std::string_view text, char marker) {
  const size_t at = text.find(marker);
  if (at == std::string_view::npos || text.find(marker, at + 1) != std::string_view::npos)
    return std::string_view::npos;
  return at + 1 < text.size() && is_word(text[at + 1]) ? at : std::string_view::npos;
}

// The word around a marker, marker included.
std::string_view word_at(std::string_view text, size_t marker) {
  size_t begin = marker;
  while (begin > 0 && is_word(text[begin - 1])) --begin;
  size_t end = marker + 1;
  while (end < text.size() && is_word(text[end])) ++end;
  return text.substr(begin, end - begin);
}

// "LC_ALL" and "_start" stay as they are in a translation; "_Web" and "E_xit" may, and are menus.
bool is_name(std::string_view english, size_t marker, std::string_view text) {
  const std::string_view word = word_at(english, marker);
  if (text.find(word) == std::string_view::npos) return false;
  const bool at_start = word.front() == english[marker];
  return !at_start || std::islower(static_cast<unsigned char>(word[1])) != 0;
}

// "&amp;" is an entity.
bool is_entity(std::string_view text, size_t marker) {
  size_t end = marker + 1;
  while (end < text.size() && static_cast<unsigned char>(text[end]) < 128 && is_word(text[end])) ++end;
  return text[marker] == '&' && end < text.size() && text[end] == ';';
}

void drop_from_text(std::string& text, char marker) {
  const size_t at = only_marker(text, marker);
  if (at == std::string::npos) return;
  const bool in_brackets = at > 0 && text[at - 1] == '(' && at + 2 < text.size() && text[at + 2] == ')';
  if (in_brackets)
    text.erase(at - 1, 4);
  else
    text.erase(at, 1);
}

}  // namespace

void drop_accelerators(std::string& english, std::string& text) {
  for (const char marker : kMarkers) {
    const size_t at = only_marker(english, marker);
    if (at == std::string::npos || is_entity(english, at) || is_name(english, at, text)) continue;
    english.erase(at, 1);
    drop_from_text(text, marker);
  }
}

}  // namespace fern
