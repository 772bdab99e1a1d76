#include "data_tools/collect_file.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "framework/core/error.h"

namespace fern {

std::string read_whole_file(const std::filesystem::path& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail_errno(path.string() + ": cannot be opened");
  std::string content;
  char block[1 << 16];
  while (const size_t got = std::fread(block, 1, sizeof block, file.get())) content.append(block, got);
  if (std::ferror(file.get()) != 0) fail_errno(path.string() + ": cannot be read");
  return content;
}

void expect_utf8(std::string_view text, const std::filesystem::path& path) {
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    const int64_t begin = i;
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    if (c < 0)
      fail("{}, line {}: expected UTF-8, got byte 0x{:02x}; convert the file with iconv", path.string(),
           1 + std::count(text.begin(), text.begin() + begin, '\n'),
           static_cast<unsigned char>(text[static_cast<size_t>(begin)]));
  }
}

}  // namespace fern
