#include "data_tools/clean_placeholder.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>

namespace fern {
namespace {

constexpr size_t kLongestName = 40;

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_upper(char c) { return std::isupper(static_cast<unsigned char>(c)) != 0; }
bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_format(char c) {
  return is_name(c) || std::string_view(".:,!<>=^+-#").find(c) != std::string_view::npos;
}

// Reads from the front of what is left of a text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  char at(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  template <typename Test>
  size_t while_true(size_t from, Test test) const {
    while (from < text_.size() && test(text_[from])) ++from;
    return from;
  }

  Placeholder made(size_t size, bool numbered) const {
    return {.begin = 0, .size = size, .meaning = std::string(text_.substr(0, size)), .numbered = numbered};
  }

  // "{name}", "(name)" and the like, whose opening bracket is at `open`. 0 when it is not one, else its end.
  size_t bracketed(size_t open, char close, bool may_be_empty) const {
    const size_t end = while_true(open + 1, is_format);
    if (at(end) != close || end - open > kLongestName) return 0;
    if (end == open + 1) return may_be_empty ? end + 1 : 0;
    return is_name(at(open + 1)) ? end + 1 : 0;
  }

 private:
  std::string_view text_;
};

// %[n$][flags][width][.precision][length]conversion. The space flag is left out: "50 % de" is a percentage.
std::optional<Placeholder> printf_conversion(const Scanner& scan) {
  size_t i = scan.while_true(1, is_digit);
  if (i > 1 && scan.at(i) == '$')
    ++i;
  else
    i = 1;
  i = scan.while_true(i, [](char c) { return std::string_view("#0-+'I").find(c) != std::string_view::npos; });
  i = scan.while_true(i, [](char c) { return is_digit(c) || c == '*' || c == '.' || c == '$'; });
  if (scan.at(i) == '<') {  // <PRIu64>
    const size_t end = scan.while_true(i + 1, is_name);
    if (scan.at(end) != '>') return std::nullopt;
    return Placeholder{.begin = 0, .size = end + 1, .meaning = "%d", .numbered = false};
  }
  i = scan.while_true(i,
                      [](char c) { return std::string_view("hlLqjzt").find(c) != std::string_view::npos; });
  const char conversion = scan.at(i);
  if (conversion == '\0' ||
      std::string_view("diouxXeEfFgGaAcCsSpnm").find(conversion) == std::string_view::npos)
    return std::nullopt;
  const bool whole = conversion == 'i' || conversion == 'd' || conversion == 'u';
  return Placeholder{
      .begin = 0, .size = i + 1, .meaning = std::string("%") + (whole ? 'd' : conversion), .numbered = false};
}

std::optional<Placeholder> after_percent(const Scanner& scan) {
  if (scan.at(1) == '{') {
    if (const size_t end = scan.bracketed(1, '}', false)) return scan.made(end, true);
  }
  if (scan.at(1) == '(') {
    const size_t end = scan.bracketed(1, ')', false);
    if (end != 0 && std::isalpha(static_cast<unsigned char>(scan.at(end))) != 0)
      return scan.made(end + 1, true);
  }
  const size_t capitals_end = scan.while_true(1, is_upper);
  if (capitals_end >= 4) return scan.made(scan.while_true(capitals_end, is_name), true);  // %PRODUCTNAME
  if (auto conversion = printf_conversion(scan)) return conversion;
  const size_t digits_end = scan.while_true(1, is_digit);
  if (digits_end > 1 && digits_end <= 3) return scan.made(digits_end, true);
  return std::nullopt;
}

std::optional<Placeholder> after_dollar(const Scanner& scan) {
  if (scan.at(1) == '{' || scan.at(1) == '(') {
    const size_t end = scan.bracketed(1, scan.at(1) == '{' ? '}' : ')', false);
    return end != 0 ? std::optional(scan.made(end, true)) : std::nullopt;
  }
  const size_t end = is_digit(scan.at(1)) ? scan.while_true(1, is_digit) : scan.while_true(1, is_name);
  return end > 1 ? std::optional(scan.made(end, true)) : std::nullopt;
}

std::optional<Placeholder> placeholder_here(std::string_view rest) {
  const Scanner scan(rest);
  if (rest[0] == '%') return after_percent(scan);
  if (rest[0] == '$') return after_dollar(scan);
  const size_t end = scan.bracketed(0, '}', true);
  return end != 0 ? std::optional(scan.made(end, end > 2)) : std::nullopt;
}

}  // namespace

std::vector<Placeholder> find_placeholders(std::string_view text) {
  std::vector<Placeholder> found;
  for (size_t i = text.find_first_of("%${"); i < text.size(); i = text.find_first_of("%${", i)) {
    if (text.substr(i, 2) == "%%") {
      i += 2;
      continue;
    }
    auto placeholder = placeholder_here(text.substr(i));
    if (!placeholder) {
      ++i;
      continue;
    }
    placeholder->begin = i;
    i += placeholder->size;
    found.push_back(std::move(*placeholder));
  }
  return found;
}

bool same_placeholders(std::string_view a, std::string_view b) {
  const auto meanings = [](std::string_view text) {
    std::pair<std::set<std::string>, std::multiset<std::string>> result;
    for (Placeholder& placeholder : find_placeholders(text)) {
      if (placeholder.numbered)
        result.first.insert(std::move(placeholder.meaning));
      else
        result.second.insert(std::move(placeholder.meaning));
    }
    return result;
  };
  if (a.find_first_of("%${") == std::string_view::npos && b.find_first_of("%${") == std::string_view::npos)
    return true;
  return meanings(a) == meanings(b);
}

std::string without_placeholders(std::string_view text) {
  std::string result;
  size_t begin = 0;
  for (const Placeholder& placeholder : find_placeholders(text)) {
    result += text.substr(begin, placeholder.begin - begin);
    begin = placeholder.begin + placeholder.size;
  }
  result += text.substr(begin);
  return result;
}

}  // namespace fern
