#include "data_tools/mediawiki.h"

#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/core/error.h"

namespace fern {
namespace {

// Another parser's message, since simdjson does not say where.
[[noreturn]] void refuse_json(const std::filesystem::path& file, std::string_view content) {
  try {
    [[maybe_unused]] const auto parsed = nlohmann::json::parse(content);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: expected JSON: {}", file.string(), error.what());
  }
  fail("{}: expected a JSON object of messages", file.string());
}

}  // namespace

std::map<std::string, std::string> read_mediawiki_messages(const std::filesystem::path& file) {
  simdjson::padded_string content;
  if (const auto error = simdjson::padded_string::load(file.string()).get(content))
    fail("{}: cannot be read: {}", file.string(), simdjson::error_message(error));
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (parser.parse(content).get(object)) refuse_json(file, std::string_view(content));
  std::map<std::string, std::string> messages;
  for (const auto& [key, value] : object) {
    if (key.starts_with('@')) continue;
    std::string_view text;
    if (value.get(text)) fail("{}: expected a string as message \"{}\"", file.string(), key);
    messages.emplace(key, text);
  }
  return messages;
}

std::vector<std::filesystem::path> find_mediawiki_folders(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::vector<fs::path> folders;
  const auto add = [&](const fs::path& folder) {
    if (fs::exists(folder / "en.json") && fs::exists(folder / "qqq.json")) folders.push_back(folder);
  };
  add(root);
  for (const auto& entry :
       fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied))
    if (entry.is_directory() && !entry.is_symlink()) add(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace fern
