// Accelerators: the marker before the letter that a menu entry is reached by ("_File", "&File", "~File").
#pragma once

#include <string>

namespace fern {

// Drops the marker from both sides when the English has exactly one "_", "&" or "~" directly before a letter
// or digit, as menus do. In the text it is the same marker, or a whole "(_F)" where the script has no such
// letter. Words that stand the same on both sides are names, not menus, and keep it ("LC_ALL", "AT&T").
void drop_accelerators(std::string& english, std::string& text);

}  // namespace fern
