// Whole files as strings, for readers of text.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace fern {

// Errors: the file cannot be read.
std::string read_whole_file(const std::filesystem::path& path);

// Errors: `text` is not UTF-8, with the line of the first bad byte.
void expect_utf8(std::string_view text, const std::filesystem::path& path);

}  // namespace fern
