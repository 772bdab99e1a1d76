#include "data_tools/gettext_plural.h"

#include <array>
#include <cctype>

namespace fern {
namespace {

constexpr int kMaxDepth = 200;

struct Operator {
  std::string_view text;
  int precedence;
};
// Longer spellings first, so that "<=" is not read as "<".
constexpr std::array<Operator, 13> kOperators = {{{"||", 1},
                                                  {"&&", 2},
                                                  {"==", 3},
                                                  {"!=", 3},
                                                  {"<=", 4},
                                                  {">=", 4},
                                                  {"<", 4},
                                                  {">", 4},
                                                  {"+", 5},
                                                  {"-", 5},
                                                  {"*", 6},
                                                  {"/", 6},
                                                  {"%", 6}}};

int64_t apply(std::string_view op, int64_t a, int64_t b) {
  if (op == "||") return a != 0 || b != 0;
  if (op == "&&") return a != 0 && b != 0;
  if (op == "==") return a == b;
  if (op == "!=") return a != b;
  if (op == "<=") return a <= b;
  if (op == ">=") return a >= b;
  if (op == "<") return a < b;
  if (op == ">") return a > b;
  const auto x = static_cast<uint64_t>(a);
  const auto y = static_cast<uint64_t>(b);
  if (op == "+") return static_cast<int64_t>(x + y);
  if (op == "-") return static_cast<int64_t>(x - y);
  if (op == "*") return static_cast<int64_t>(x * y);
  if (y == 0) return 0;
  return static_cast<int64_t>(op == "/" ? x / y : x % y);
}

// Evaluates while it reads; `good` turns false at the first thing that is not an expression.
class Evaluator {
 public:
  Evaluator(std::string_view text, int64_t n) : text_(text), n_(n) {}

  std::optional<int64_t> run() {
    const int64_t value = ternary();
    skip_space();
    return good_ && text_.empty() ? std::optional(value) : std::nullopt;
  }

 private:
  void skip_space() {
    while (!text_.empty() && std::isspace(static_cast<unsigned char>(text_[0])) != 0) text_.remove_prefix(1);
  }

  bool take(std::string_view token) {
    skip_space();
    if (!text_.starts_with(token)) return false;
    text_.remove_prefix(token.size());
    return true;
  }

  int64_t refuse() {
    good_ = false;
    text_ = {};
    return 0;
  }

  int64_t ternary() {
    if (++depth_ > kMaxDepth) return refuse();
    int64_t value = binary(1);
    if (take("?")) {
      const int64_t yes = ternary();
      if (!take(":")) return refuse();
      const int64_t no = ternary();
      value = value != 0 ? yes : no;
    }
    --depth_;
    return value;
  }

  // Operators that bind at least as tightly as `precedence`.
  int64_t binary(int precedence) {
    int64_t value = unary();
    while (const Operator* op = next_operator(precedence))
      value = apply(op->text, value, binary(op->precedence + 1));
    return value;
  }

  const Operator* next_operator(int precedence) {
    skip_space();
    for (const Operator& op : kOperators) {
      if (!text_.starts_with(op.text)) continue;
      if (op.precedence < precedence) return nullptr;
      text_.remove_prefix(op.text.size());
      return &op;
    }
    return nullptr;
  }

  int64_t unary() {
    if (take("!")) {
      if (++depth_ > kMaxDepth) return refuse();
      const int64_t value = unary();
      --depth_;
      return value == 0;
    }
    if (take("(")) {
      const int64_t value = ternary();
      return take(")") ? value : refuse();
    }
    if (take("n")) return n_;
    return number();
  }

  int64_t number() {
    skip_space();
    if (text_.empty() || std::isdigit(static_cast<unsigned char>(text_[0])) == 0) return refuse();
    uint64_t value = 0;
    for (; !text_.empty() && std::isdigit(static_cast<unsigned char>(text_[0])) != 0; text_.remove_prefix(1))
      value = value * 10 + static_cast<uint64_t>(text_[0] - '0');
    return static_cast<int64_t>(value);
  }

  std::string_view text_;
  int64_t n_;
  int depth_ = 0;
  bool good_ = true;
};

struct Forms {
  int64_t one, many;
};

Forms forms_of(const GettextCatalogue& catalogue, int64_t count) {
  const Forms plain = {0, count - 1};
  const auto rule = catalogue.header.find("Plural-Forms");
  if (rule == catalogue.header.end()) return plain;
  const size_t at = rule->second.find("plural=");
  if (at == std::string::npos) return plain;
  const std::string expression = rule->second.substr(at + 7, rule->second.find(';', at) - (at + 7));
  const auto one = evaluate_plural(expression, 1);
  const auto many = evaluate_plural(expression, 100);
  const bool usable = one && many && *one >= 0 && *one < count && *many >= 0 && *many < count;
  return usable ? Forms{*one, *many} : plain;
}

}  // namespace

std::optional<int64_t> evaluate_plural(std::string_view expression, int64_t n) {
  return Evaluator(expression, n).run();
}

std::vector<GettextPair> pairs_of(const GettextEntry& entry, const GettextCatalogue& catalogue) {
  std::vector<GettextPair> pairs;
  const auto add = [&](const std::string& english, const std::string& text) {
    if (!text.empty()) pairs.push_back({english, text});
  };
  if (entry.plural.empty()) {
    add(entry.id, entry.texts.front());
    return pairs;
  }
  const Forms forms = forms_of(catalogue, static_cast<int64_t>(entry.texts.size()));
  if (forms.one != forms.many) add(entry.id, entry.texts[static_cast<size_t>(forms.one)]);
  add(entry.plural, entry.texts[static_cast<size_t>(forms.many)]);
  return pairs;
}

}  // namespace fern
