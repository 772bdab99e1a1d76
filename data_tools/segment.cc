#include "data_tools/segment.h"

#include <simdjson.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "framework/core/error.h"

namespace fern {
namespace {

constexpr std::array<std::string_view, 4> kKindNames = {"message", "country", "language", "prose"};

// A line being read: its object, and where it stands for messages.
struct Line {
  simdjson::dom::object object;
  const std::filesystem::path& file;
  int64_t number;

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}, line {}: {}", file.string(), number, fmt::format(format, std::forward<Args>(args)...));
  }

  bool has(std::string_view key) const { return object.at_key(key).error() == simdjson::SUCCESS; }

  std::string text(std::string_view key) const {
    std::string_view value;
    const auto found = object.at_key(key);
    if (found.error() == simdjson::NO_SUCH_FIELD) return {};
    if (found.get(value)) refuse("expected a string as \"{}\"", key);
    return std::string(value);
  }

  std::string needed_text(std::string_view key) const {
    std::string value = text(key);
    if (value.empty()) refuse("expected \"{}\", a string that is not empty", key);
    return value;
  }

  int64_t count(std::string_view key) const {
    int64_t value = 0;
    if (has(key) && (object.at_key(key).get(value) || value < 0))
      refuse("expected a whole number from 0 as \"{}\"", key);
    return value;
  }
};

// Calls `visit` for each line that is not blank.
template <typename Visit>
void read_lines(const std::filesystem::path& file, const Visit& visit) {
  simdjson::padded_string content;
  if (const auto error = simdjson::padded_string::load(file.string()).get(content))
    fail("{}: cannot be read: {}", file.string(), simdjson::error_message(error));
  simdjson::dom::parser parser;
  const std::string_view all(content);
  int64_t number = 0;
  const size_t first = all.starts_with("\xEF\xBB\xBF") ? 3 : 0;  // the mark that Windows puts before UTF-8
  for (size_t begin = first; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    ++number;
    const std::string_view line = all.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    simdjson::dom::object object;
    // The bytes after a line are the next line or the padding, so simdjson may look past its end.
    const auto error = parser.parse(line.data(), line.size(), false).get(object);
    if (error)
      fail("{}, line {}: expected one JSON object in UTF-8: {}", file.string(), number,
           simdjson::error_message(error));
    visit(Line{object, file, number});
  }
}

SegmentKind kind_of(const Line& line) {
  const std::string name = line.text("kind");
  if (name.empty()) return SegmentKind::kMessage;
  for (size_t i = 0; i < kKindNames.size(); ++i)
    if (kKindNames[i] == name) return static_cast<SegmentKind>(i);
  line.refuse("expected \"kind\" to be message, country, language or prose, got \"{}\"", name);
}

std::string dump(const nlohmann::ordered_json& object, std::string_view text) {
  try {
    return object.dump();
  } catch (const nlohmann::json::exception&) {
    fail("a segment to be written is not UTF-8: \"{}\"", text);
  }
}

}  // namespace

std::string_view kind_name(SegmentKind kind) { return kKindNames.at(static_cast<size_t>(kind)); }

std::string to_json_line(const Segment& segment) {
  nlohmann::ordered_json object = {{"language", segment.language}, {"text", segment.text}};
  if (!segment.english.empty()) object["english"] = segment.english;
  if (!segment.note.empty()) object["note"] = segment.note;
  if (!segment.key.empty()) object["key"] = segment.key;
  object["kind"] = kind_name(segment.kind);
  object["origin"] = segment.origin;
  return dump(object, segment.text);
}

std::string to_json_line(const Origin& origin) {
  const nlohmann::ordered_json object = {{"source", origin.source},
                                         {"package", origin.package},
                                         {"version", origin.version},
                                         {"licence", origin.licence},
                                         {"file", origin.file}};
  return dump(object, origin.file);
}

void read_segments(const std::filesystem::path& file, const std::function<void(Segment)>& visit) {
  read_lines(file, [&](const Line& line) {
    visit({.language = line.needed_text("language"),
           .english = line.text("english"),
           .text = line.needed_text("text"),
           .note = line.text("note"),
           .key = line.text("key"),
           .kind = kind_of(line),
           .origin = line.count("origin")});
  });
}

std::vector<Origin> read_origins(const std::filesystem::path& file) {
  std::vector<Origin> origins;
  read_lines(file, [&](const Line& line) {
    origins.push_back({.source = line.needed_text("source"),
                       .package = line.text("package"),
                       .version = line.text("version"),
                       .licence = line.text("licence"),
                       .file = line.text("file")});
  });
  return origins;
}

}  // namespace fern
