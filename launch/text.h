// Numbers as people read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fern {

std::string bytes_text(double bytes);  // "512 B", "3.4 MB", "12.1 GB", in powers of 1000
std::string count_text(double count);  // "950", "3.4 k", "25.1 M", "1.2 G"
// "25.1 M parameters", with how many of them a token uses where those are fewer.
std::string parameters_text(int64_t all, int64_t active);
// "am, ha, sw and 12 more": at most `most` names.
std::string names_text(const std::vector<std::string>& names, size_t most);

}  // namespace fern
