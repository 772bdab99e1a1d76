#include "data_tools/gettext.h"

#include <unicode/ucnv.h>
#include <unicode/unistr.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>

#include "data_tools/collect_file.h"
#include "framework/core/error.h"

namespace fern {
namespace {

constexpr uint32_t kMagic = 0x950412de;
constexpr char kContextEnd = '\x04';

// The tables of a .mo file, each access checked.
class MoFile {
 public:
  MoFile(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {
    if (bytes.size() < 20) fail("{}: expected a gettext catalogue (.mo), got {} bytes", name, bytes.size());
    const uint32_t magic = word(0);
    swapped_ = magic == __builtin_bswap32(kMagic);
    if (magic != kMagic && !swapped_)
      fail("{}: expected a gettext catalogue (.mo), got a file that begins with 0x{:08x}", name, magic);
    if (word(4) >> 16 > 1) fail("{}: expected .mo format revision 0 or 1, got {}", name, word(4) >> 16);
    count_ = word(8);
  }

  uint32_t count() const { return count_; }
  std::string_view original(uint32_t i) const { return string(word(12), i); }
  std::string_view translation(uint32_t i) const { return string(word(16), i); }

 private:
  uint32_t word(uint64_t offset) const {
    if (offset + 4 > bytes_.size())
      fail("{}: the catalogue is truncated or corrupt: its table reaches to byte {} of {}", name_, offset + 4,
           bytes_.size());
    uint32_t value = 0;
    std::memcpy(&value, bytes_.data() + offset, 4);
    return swapped_ ? __builtin_bswap32(value) : value;
  }

  std::string_view string(uint64_t table, uint64_t i) const {
    const uint64_t length = word(table + 8 * i);
    const uint64_t offset = word(table + 8 * i + 4);
    if (offset + length >= bytes_.size() || bytes_[offset + length] != '\0')
      fail("{}: the catalogue is truncated or corrupt: string {} ends at byte {} of {} without a NUL", name_,
           i, offset + length, bytes_.size());
    return bytes_.substr(offset, length);
  }

  std::string_view bytes_;
  const std::string& name_;
  bool swapped_ = false;
  uint32_t count_ = 0;
};

// Bytes of the catalogue's charset to UTF-8.
class Decoder {
 public:
  Decoder(const std::string& charset, const std::string& name) : converter_(nullptr, ucnv_close) {
    UErrorCode status = U_ZERO_ERROR;
    converter_.reset(ucnv_open(charset.c_str(), &status));
    if (U_FAILURE(status))
      fail("{}: its header names the charset \"{}\", which ICU does not know", name, charset);
  }

  std::string utf8(std::string_view bytes) {
    UErrorCode status = U_ZERO_ERROR;
    const icu::UnicodeString text(bytes.data(), static_cast<int32_t>(bytes.size()), converter_.get(), status);
    std::string result;
    return text.toUTF8String(result);
  }

 private:
  std::unique_ptr<UConverter, void (*)(UConverter*)> converter_;
};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::map<std::string, std::string> parse_header(std::string_view text) {
  std::map<std::string, std::string> header;
  for (const std::string_view line : split(text, '\n')) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const size_t value = std::min(line.find_first_not_of(' ', colon + 1), line.size());
    header[std::string(line.substr(0, colon))] = line.substr(value);
  }
  return header;
}

// The header's charset; UTF-8 when it names none ("CHARSET" is msginit's blank).
std::string charset_of(const std::map<std::string, std::string>& header) {
  const auto type = header.find("Content-Type");
  if (type == header.end()) return "UTF-8";
  const size_t at = type->second.find("charset=");
  if (at == std::string::npos) return "UTF-8";
  const std::string charset =
      type->second.substr(at + 8, type->second.find_first_of(" ;\r", at + 8) - (at + 8));
  return charset.empty() || charset == "CHARSET" ? "UTF-8" : charset;
}

GettextEntry entry_of(std::string_view original, std::string_view translation, Decoder& decoder) {
  GettextEntry entry;
  if (const size_t end = original.find(kContextEnd); end != std::string_view::npos) {
    entry.context = decoder.utf8(original.substr(0, end));
    original.remove_prefix(end + 1);
  }
  const auto ids = split(original, '\0');
  entry.id = decoder.utf8(ids[0]);
  if (ids.size() == 1) {
    entry.texts = {decoder.utf8(translation)};
    return entry;
  }
  entry.plural = decoder.utf8(ids[1]);
  for (const std::string_view text : split(translation, '\0')) entry.texts.push_back(decoder.utf8(text));
  return entry;
}

}  // namespace

GettextCatalogue parse_gettext(std::string_view bytes, const std::string& name) {
  const MoFile file(bytes, name);
  GettextCatalogue catalogue;
  for (uint32_t i = 0; i < file.count(); ++i)
    if (file.original(i).empty()) catalogue.header = parse_header(file.translation(i));
  Decoder decoder(charset_of(catalogue.header), name);
  for (uint32_t i = 0; i < file.count(); ++i)
    if (!file.original(i).empty())
      catalogue.entries.push_back(entry_of(file.original(i), file.translation(i), decoder));
  return catalogue;
}

GettextCatalogue read_gettext(const std::filesystem::path& file) {
  return parse_gettext(read_whole_file(file), file.string());
}

}  // namespace fern
