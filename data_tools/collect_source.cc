#include "data_tools/collect_source.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "data_tools/language_code.h"
#include "data_tools/mediawiki.h"
#include "framework/core/error.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<std::string_view, SourceKind>, 4> kPrefixes = {
    {{"gettext", SourceKind::kGettext},
     {"mediawiki", SourceKind::kMediawiki},
     {"jsonl", SourceKind::kJsonl},
     {"text", SourceKind::kText}}};

constexpr const char* kForms =
    "gettext, gettext:DIR, mediawiki:DIR, jsonl:FILE-or-DIR, text:FILE:LANGUAGE, text:DIR, or a path";

// Regular files below `folder` (or `folder` itself) with this extension, in path order.
std::vector<fs::path> files_with(const fs::path& folder, std::string_view extension) {
  std::vector<fs::path> files;
  if (fs::is_regular_file(folder)) {
    if (folder.extension() == extension) files.push_back(folder);
    return files;
  }
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied))
    if (!entry.is_symlink() && entry.is_regular_file() && entry.path().extension() == extension)
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<SourceFile> gettext_files(const fs::path& folder) {
  std::vector<SourceFile> files;
  for (const fs::path& path : files_with(folder, ".mo")) {
    const fs::path parent = fs::absolute(path).parent_path();
    const bool in_locale = parent.filename() == "LC_MESSAGES";
    files.push_back({path, in_locale ? parent.parent_path().filename() : path.stem()});
  }
  return files;
}

std::vector<SourceFile> mediawiki_files(const fs::path& root) {
  std::vector<SourceFile> files;
  if (!fs::is_directory(root)) return files;
  for (const fs::path& folder : find_mediawiki_folders(root)) {
    std::vector<SourceFile> here;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json" && entry.path().stem() != "qqq")
        here.push_back({entry.path(), entry.path().stem()});
    std::sort(here.begin(), here.end(),
              [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
    files.insert(files.end(), here.begin(), here.end());
  }
  return files;
}

std::vector<SourceFile> jsonl_files(const fs::path& path) {
  std::vector<SourceFile> files;
  if (fs::is_regular_file(path)) return {{path, ""}};
  for (const fs::path& file : files_with(path, ".jsonl")) files.push_back({file, ""});
  return files;
}

// Directly in `path`: deeper down, a FAQ.txt would look like a language.
std::vector<SourceFile> text_files(const fs::path& path) {
  std::vector<SourceFile> files;
  for (const fs::path& file : files_with(path, ".txt"))
    if (file.lexically_relative(path).parent_path().empty() && normalise_language(file.stem().string()))
      files.push_back({file, file.stem()});
  return files;
}

std::vector<SourceFile> list_files(SourceKind kind, const fs::path& path) {
  if (kind == SourceKind::kMediawiki) return mediawiki_files(path);
  if (kind == SourceKind::kJsonl) return jsonl_files(path);
  if (kind == SourceKind::kText) return text_files(path);
  return gettext_files(path);
}

void expect_exists(const fs::path& path) {
  if (!fs::exists(path))
    fail_usage("source {}: no such file or folder; a source is {}", path.string(), kForms);
}

// text:FILE:LANGUAGE; nothing for text:DIR.
std::optional<Source> open_named_text(const std::string& value) {
  const size_t colon = value.rfind(':');
  if (colon == std::string::npos || fs::exists(value)) return std::nullopt;
  const std::string code = value.substr(colon + 1);
  const fs::path path = value.substr(0, colon);
  expect_exists(path);
  if (!fs::is_regular_file(path)) fail_usage("source text:{}: expected a file before the language", value);
  if (!normalise_language(code))
    fail_usage("source text:{}: \"{}\" is not a language code; expected BCP 47, such as sw or zh-Hant", value,
               code);
  return Source{.kind = SourceKind::kText, .path = path, .files = {{path, code}}};
}

Source open_as(SourceKind kind, const std::string& name, const fs::path& path) {
  expect_exists(path);
  Source source = {.kind = kind, .path = path, .files = list_files(kind, path)};
  if (!source.files.empty()) return source;
  constexpr std::array<std::string_view, 5> kWanted = {"catalogues (*.mo)", "catalogues (*.mo)",
                                                       "folder with en.json and qqq.json", "*.jsonl file",
                                                       "file named after its language (sw.txt)"};
  fail_usage("source {}: {} holds no {}", name, path.string(), kWanted[static_cast<size_t>(kind)]);
}

Source recognise(const fs::path& path) {
  std::vector<Source> found;
  const bool is_file = fs::is_regular_file(path);
  for (const auto& [name, kind] : kPrefixes) {
    if (is_file && kind == SourceKind::kJsonl && path.extension() != ".jsonl") continue;
    // Text files come with everything: they count where nothing else does.
    if (kind == SourceKind::kText && !found.empty()) continue;
    Source source = {.kind = kind, .path = path, .files = list_files(kind, path)};
    if (!source.files.empty()) found.push_back(std::move(source));
  }
  if (found.empty())
    fail_usage("source {}: holds nothing that is known; a source is {}", path.string(), kForms);
  if (found.size() > 1)
    fail_usage("source {}: holds several kinds of text; say which with gettext:, mediawiki:, jsonl: or text:",
               path.string());
  return std::move(found[0]);
}

}  // namespace

Source open_source(const std::string& argument, const fs::path& machine_folder) {
  if (argument == "gettext") {
    if (!fs::exists(machine_folder))
      return {.kind = SourceKind::kMachineGettext, .path = machine_folder, .files = {}};
    return {
        .kind = SourceKind::kMachineGettext, .path = machine_folder, .files = gettext_files(machine_folder)};
  }
  const size_t colon = argument.find(':');
  for (const auto& [prefix, kind] : kPrefixes) {
    if (colon == std::string::npos || argument.substr(0, colon) != prefix) continue;
    const std::string value = argument.substr(colon + 1);
    if (kind == SourceKind::kText)
      if (auto source = open_named_text(value)) return std::move(*source);
    return open_as(kind, argument, value);
  }
  expect_exists(argument);
  return recognise(argument);
}

}  // namespace fern
