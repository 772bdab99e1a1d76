// A template: text with {{ variable }} in it. This is the part of Jinja that instruction templates need, and
// all of it is checked when a file is read: a name that does not exist is an error with its line, not a hole
// in the millionth example. Conditions are said in the task file instead (a task is used where all its
// variables have a value), and repetition is one variable, {{ shots }}, so that no loop or expression has to
// be interpreted.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fern {

enum class Variable {
  kLanguage,  // {{ language }}  the language's name in English: "Swahili"
  kEnglish,   // {{ english }}   the English source text
  kText,      // {{ text }}      the text in the language
  kNote,      // {{ note }}      what the message is for, in English
  kShots,     // {{ shots }}     examples before the question, each made by the wording's `shot`
};
inline constexpr size_t kVariables = 5;
std::string_view variable_name(Variable variable);

// One value per variable; empty means that there is none.
struct Values {
  std::array<std::string_view, kVariables> values{};
  std::string_view& operator[](Variable variable) { return values[static_cast<size_t>(variable)]; }
  std::string_view operator[](Variable variable) const { return values[static_cast<size_t>(variable)]; }
};

// Where a template's text begins, for messages.
struct TemplatePlace {
  std::filesystem::path file;
  int64_t line = 1;  // of the template's first character
};

class TemplateText {
 public:
  TemplateText() = default;
  // Errors (kBadUsage), with file and line: a variable that does not exist (with those that do), "{{" without
  // "}}".
  TemplateText(std::string_view text, const TemplatePlace& place);

  // Values are put in as they are: braces in a value mean nothing.
  std::string render(const Values& values) const;
  bool uses(Variable variable) const;
  bool empty() const { return parts_.empty(); }

 private:
  struct Part {
    std::string literal;
    bool is_variable = false;
    Variable variable{};
  };
  std::vector<Part> parts_;
};

}  // namespace fern
