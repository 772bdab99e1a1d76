// Placeholders: the parts of a message that the program fills in. They stay in the text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fern {

// One placeholder: where it stands, and what it stands for, in one spelling.
struct Placeholder {
  size_t begin, size;
  std::string meaning;
  bool numbered;  // names its argument: it may be used twice or not, in any order
};

// Recognised: printf (%d, %-5.2lf, %2$s, %*d, <PRIu64> after %), Python (%(name)s, {}, {0}, {name:>5}), Qt
// and LibreOffice (%1, %PRODUCTNAME, $(ARG1)), shell and MediaWiki ($1, $name, ${name}), %{name}. "%%" is not
// one. The meaning of printf's is its conversion alone ("%5.2f" and "%f" agree, "%2$s" and "%s" too).
std::vector<Placeholder> find_placeholders(std::string_view text);

// True when both use the same placeholders: printf's equally often, numbered and named ones at least once.
bool same_placeholders(std::string_view a, std::string_view b);

// `text` without its placeholders.
std::string without_placeholders(std::string_view text);

}  // namespace fern
