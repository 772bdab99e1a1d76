// What a language is called in English, for prompts and tables.
#pragma once

#include <string>

namespace fern {

// By ICU's data: "sw" is "Swahili", "sr-Latn" is "Serbian (Latin)". The code itself where ICU has no name.
std::string language_name(const std::string& code);

}  // namespace fern
