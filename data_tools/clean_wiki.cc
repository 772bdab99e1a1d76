#include "data_tools/clean_wiki.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <vector>

namespace fern {
namespace {

constexpr int kMaxDepth = 20;

// "a|[[b|c]]|{{d|e}}" -> "a", "[[b|c]]", "{{d|e}}".
std::vector<std::string_view> split_arguments(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view two = text.substr(i, 2);
    if (two == "{{" || two == "[[")
      ++depth, ++i;
    else if (two == "}}" || two == "]]")
      --depth, ++i;
    else if (text[i] == '|' && depth == 0) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  parts.push_back(text.substr(begin));
  return parts;
}

// Position of the "}}" that closes the "{{" at the front of `text`, else npos.
size_t closing(std::string_view text) {
  int depth = 0;
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    const std::string_view two = text.substr(i, 2);
    if (two == "{{")
      ++depth, ++i;
    else if (two == "}}" && --depth == 0)
      return i;
    else if (two == "}}")
      ++i;
  }
  return std::string_view::npos;
}

using Expand = std::function<std::optional<std::string>(std::string_view inside)>;

// Replaces each {{...}} by what `expand` makes of its inside; nothing when one cannot be expanded.
std::optional<std::string> expand_templates(std::string_view text, const Expand& expand) {
  std::string result;
  for (size_t open = text.find("{{"); open != std::string_view::npos; open = text.find("{{")) {
    result += text.substr(0, open);
    const size_t close = closing(text.substr(open));
    if (close == std::string_view::npos) return std::nullopt;
    const auto expanded = expand(text.substr(open + 2, close - 2));
    if (!expanded) return std::nullopt;
    result += *expanded;
    text.remove_prefix(open + close + 2);
  }
  if (text.find("}}") != std::string_view::npos) return std::nullopt;
  result += text;
  return result;
}

// "0=none" and "12=a dozen" are PLURAL forms for one number.
bool is_explicit_form(std::string_view form) {
  const size_t digits = form.find_first_not_of("0123456789");
  return digits != 0 && digits != std::string_view::npos && form[digits] == '=';
}

std::string_view chosen_form(std::string_view name, const std::vector<std::string_view>& arguments) {
  if (name == "GENDER") return arguments[1];
  for (size_t i = arguments.size() - 1; i > 1; --i)
    if (!is_explicit_form(arguments[i])) return arguments[i];
  return arguments[1];
}

std::optional<std::string> expand_message(std::string_view inside, int depth) {
  const size_t colon = inside.find(':');
  if (colon == std::string_view::npos || depth > kMaxDepth) return std::nullopt;
  std::string name(inside.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  const auto arguments = split_arguments(inside);
  if ((name != "PLURAL" && name != "GENDER") || arguments.size() < 2) return std::nullopt;
  return expand_templates(chosen_form(name, arguments),
                          [depth](std::string_view inner) { return expand_message(inner, depth + 1); });
}

std::string quoted(std::string_view text) { return fmt::format("\"{}\"", text); }

std::optional<std::string> expand_note(std::string_view inside) {
  const auto arguments = split_arguments(inside);
  std::string name(arguments[0]);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  if ((name == "msg-mw" || name == "msg") && arguments.size() > 1) return quoted(arguments[1]);
  if (name.starts_with("int:")) return quoted(arguments[0].substr(4));
  return "";
}

bool is_picture(std::string_view page) {
  return page.starts_with("File:") || page.starts_with("Image:") || page.starts_with("Category:");
}

std::string strip_inner_links(std::string_view text) {
  std::string result;
  for (size_t open = text.find("[["); open != std::string_view::npos; open = text.find("[[")) {
    const size_t close = text.find("]]", open);
    if (close == std::string_view::npos) break;
    result += text.substr(0, open);
    std::string_view inside = text.substr(open + 2, close - open - 2);
    const size_t bar = inside.rfind('|');
    const bool thumbnail = bar != std::string_view::npos && inside.substr(bar + 1) == "thumb";
    if (!is_picture(inside) && !thumbnail) {
      if (bar != std::string_view::npos && bar + 1 < inside.size()) inside.remove_prefix(bar + 1);
      while (inside.starts_with(':')) inside.remove_prefix(1);
      result += inside;
    }
    text.remove_prefix(close + 2);
  }
  result += text;
  return result;
}

bool is_address(std::string_view text) {
  for (const std::string_view start : {"http://", "https://", "//", "mailto:", "$"})
    if (text.starts_with(start)) return true;
  return false;
}

// "[https://example.org label]" -> "label".
std::string strip_outer_links(std::string_view text) {
  std::string result;
  for (size_t open = text.find('['); open != std::string_view::npos; open = text.find('[')) {
    const size_t close = text.find(']', open);
    const size_t space = text.find(' ', open);
    if (close == std::string_view::npos) break;
    const bool labelled = is_address(text.substr(open + 1)) && space < close;
    result += text.substr(0, open);
    result += labelled ? text.substr(space + 1, close - space - 1) : text.substr(open, close + 1 - open);
    text.remove_prefix(close + 1);
  }
  result += text;
  return result;
}

void erase_all(std::string& text, std::string_view part) {
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at))
    text.erase(at, part.size());
}

// "__NOTOC__" and its kind.
std::string strip_switches(std::string_view text) {
  std::string result;
  for (size_t open = text.find("__"); open != std::string_view::npos; open = text.find("__")) {
    size_t end = open + 2;
    while (end < text.size() && std::isupper(static_cast<unsigned char>(text[end])) != 0) ++end;
    const bool is_switch = end > open + 2 && text.substr(end, 2) == "__";
    result += text.substr(0, is_switch ? open : open + 2);
    text.remove_prefix(is_switch ? end + 2 : open + 2);
  }
  result += text;
  return result;
}

// A line without its list marker or the "==" of a heading.
std::string_view strip_line(std::string_view line) {
  if (line.size() > 4 && line.starts_with("==") && line.ends_with("==")) {
    while (line.starts_with('=')) line.remove_prefix(1);
    while (line.ends_with('=')) line.remove_suffix(1);
    return line;
  }
  const size_t text = line.find_first_not_of("*#:;");
  const bool is_list = text != std::string_view::npos && text > 0 && line[text] == ' ';
  if (is_list) line.remove_prefix(text);
  return line;
}

std::string strip_lines(std::string_view text, bool join_items) {
  std::string result;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const std::string_view stripped = strip_line(line);
    const bool item = stripped.size() != line.size() && !line.starts_with('=');
    const bool open =
        !result.empty() && std::string_view(":;.,\n ").find(result.back()) == std::string_view::npos;
    if (join_items && item && open) result += ';';
    if (!result.empty()) result += '\n';
    result += stripped;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

bool has_no_plain_text(std::string_view text) {
  constexpr std::array<std::string_view, 7> kSigns = {"{|", "|-", "~~~", "-{", "/*", "#REDIRECT", "<pre"};
  return std::any_of(kSigns.begin(), kSigns.end(),
                     [&](std::string_view sign) { return text.find(sign) != std::string_view::npos; });
}

std::optional<std::string> strip_expanded(const std::optional<std::string>& expanded, bool join_items) {
  if (!expanded) return std::nullopt;
  std::string text = strip_outer_links(strip_inner_links(*expanded));
  for (const std::string_view left : {"[[", "]]", "{{", "}}"})
    if (text.find(left) != std::string::npos) return std::nullopt;
  erase_all(text, "'''");
  erase_all(text, "''");
  return strip_lines(strip_switches(text), join_items);
}

}  // namespace

std::optional<std::string> strip_wiki(std::string_view text) {
  if (has_no_plain_text(text)) return std::nullopt;
  return strip_expanded(
      expand_templates(text, [](std::string_view inside) { return expand_message(inside, 0); }), false);
}

std::string strip_wiki_note(std::string_view note) {
  return strip_expanded(expand_templates(note, expand_note), true).value_or("");
}

}  // namespace fern
