#include "data_tools/clean_markup.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <map>
#include <set>

namespace fern {
namespace {

constexpr size_t kLongestTag = 1000;
constexpr size_t kLongestEntity = 12;

const std::set<std::string, std::less<>> kInlineTags = {"a",
                                                        "abbr",
                                                        "b",
                                                        "bdi",
                                                        "bdo",
                                                        "big",
                                                        "cite",
                                                        "code",
                                                        "del",
                                                        "dfn",
                                                        "em",
                                                        "font",
                                                        "i",
                                                        "img",
                                                        "input",
                                                        "ins",
                                                        "kbd",
                                                        "nowiki",
                                                        "q",
                                                        "ref",
                                                        "s",
                                                        "samp",
                                                        "script",
                                                        "small",
                                                        "span",
                                                        "strike",
                                                        "strong",
                                                        "style",
                                                        "sub",
                                                        "sup",
                                                        "tt",
                                                        "tvar",
                                                        "u",
                                                        "var",
                                                        "markup",
                                                        "includeonly",
                                                        "noinclude",
                                                        "link",
                                                        "label",
                                                        "button",
                                                        "ph",
                                                        "item",
                                                        "emph",
                                                        "literal",
                                                        "bold",
                                                        "ahelp",
                                                        "switchinline",
                                                        "caseinline",
                                                        "defaultinline"};
const std::set<std::string, std::less<>> kBlockTags = {
    "blockquote", "br",    "center", "dd", "div",   "dl",  "dt",
    "h1",         "h2",    "h3",     "h4", "h5",    "h6",  "hr",
    "html",       "body",  "li",     "ol", "p",     "pre", "syntaxhighlight",
    "table",      "tbody", "td",     "th", "thead", "tr",  "ul",
    "gallery",    "para"};

struct Tag {
  size_t size = 0;  // 0: not a tag
  bool breaks_line = false;
};

Tag tag_at(std::string_view text) {
  if (text.starts_with("<!--")) {
    const size_t end = text.find("-->");
    return {.size = end == std::string_view::npos ? text.size() : end + 3, .breaks_line = false};
  }
  const size_t name_begin = text.size() > 1 && text[1] == '/' ? 2 : 1;
  size_t name_end = name_begin;
  while (name_end < text.size() && std::isalnum(static_cast<unsigned char>(text[name_end])) != 0) ++name_end;
  std::string name(text.substr(name_begin, name_end - name_begin));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool block = kBlockTags.contains(name);
  if (!block && !kInlineTags.contains(name)) return {};
  const size_t end = text.find_first_of("<>", name_end);
  if (end == std::string_view::npos || text[end] != '>' || end > kLongestTag) return {};
  const bool name_ends =
      end == name_end || text[name_end] == ' ' || text[name_end] == '/' || text[name_end] == '\n';
  return name_ends ? Tag{.size = end + 1, .breaks_line = block} : Tag{};
}

const std::map<std::string, std::string, std::less<>> kEntities = {
    {"amp", "&"},       {"lt", "<"},     {"gt", ">"},       {"quot", "\""},    {"apos", "'"},
    {"nbsp", " "},      {"mdash", "—"},  {"ndash", "–"},    {"hellip", "…"},   {"laquo", "«"},
    {"raquo", "»"},     {"copy", "©"},   {"lrm", "\u200E"}, {"rlm", "\u200F"}, {"zwj", "\u200D"},
    {"zwnj", "\u200C"}, {"thinsp", " "}, {"ensp", " "},     {"emsp", " "},     {"shy", ""},
    {"bull", "•"},      {"middot", "·"}, {"rarr", "→"},     {"larr", "←"},     {"times", "×"},
    {"lsquo", "‘"},     {"rsquo", "’"},  {"ldquo", "“"},    {"rdquo", "”"},    {"deg", "°"}};

// UTF-8 of "#32" or "#x20"; "" when it is no character.
std::string numeric_entity(std::string_view digits) {
  const bool hexadecimal = digits.starts_with('x') || digits.starts_with('X');
  if (hexadecimal) digits.remove_prefix(1);
  uint32_t code = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, hexadecimal ? 16 : 10);
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (error != std::errc() || end != digits.data() + digits.size() || code > 0x10FFFF || surrogate) return {};
  char bytes[4];
  int32_t size = 0;
  U8_APPEND_UNSAFE(bytes, size, code);
  return {bytes, static_cast<size_t>(size)};
}

}  // namespace

std::string strip_tags(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const Tag tag = text[i] == '<' ? tag_at(text.substr(i)) : Tag{};
    if (tag.size == 0) {
      result += text[i++];
      continue;
    }
    if (tag.breaks_line) result += ' ';
    i += tag.size;
  }
  return result;
}

std::string decode_entities(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const size_t end =
        text[i] == '&' ? text.substr(0, i + kLongestEntity).find(';', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      result += text[i++];
      continue;
    }
    const std::string_view name = text.substr(i + 1, end - i - 1);
    const auto named = kEntities.find(name);
    const std::string decoded = name.starts_with('#')      ? numeric_entity(name.substr(1))
                                : named != kEntities.end() ? named->second
                                                           : std::string(text.substr(i, end + 1 - i));
    result += decoded;
    i = end + 1;
  }
  return result;
}

}  // namespace fern
