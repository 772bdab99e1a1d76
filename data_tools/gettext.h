// Compiled gettext catalogues (.mo). The format: GNU gettext manual, section "The Format of GNU MO Files".
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fern {

// One message. Strings are UTF-8; bytes that the catalogue's charset does not allow became U+FFFD.
struct GettextEntry {
  std::string context;             // msgctxt, "" when there is none
  std::string id;                  // the English singular
  std::string plural;              // the English plural, "" when the message has none
  std::vector<std::string> texts;  // msgstr, or msgstr[0], msgstr[1]...
};

struct GettextCatalogue {
  std::map<std::string, std::string> header;  // "Language", "Plural-Forms"..., from the message with id ""
  std::vector<GettextEntry> entries;          // in the file's order, without the header
};

// Reads a catalogue in either byte order. `name` is for messages. Errors: not a .mo file, a format newer than
// major revision 1, a table or string that reaches outside the file, a string without its final NUL, a
// charset that ICU does not know.
GettextCatalogue parse_gettext(std::string_view bytes, const std::string& name);
GettextCatalogue read_gettext(const std::filesystem::path& file);

}  // namespace fern
