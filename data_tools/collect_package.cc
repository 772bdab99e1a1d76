#include "data_tools/collect_package.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <vector>

#include "data_tools/collect_file.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// The value of "Field: value" in a control paragraph, "" when it has none.
std::string field_of(std::string_view paragraph, std::string_view field) {
  while (!paragraph.empty()) {
    const size_t end = std::min(paragraph.find('\n'), paragraph.size());
    std::string_view line = paragraph.substr(0, end);
    paragraph.remove_prefix(std::min(end + 1, paragraph.size()));
    if (!line.starts_with(field) || line.substr(field.size(), 1) != ":") continue;
    line.remove_prefix(field.size() + 1);
    const size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
    return std::string(line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin));
  }
  return {};
}

// Paragraphs of a control file: blocks between blank lines.
std::vector<std::string_view> paragraphs_of(std::string_view text) {
  std::vector<std::string_view> paragraphs;
  while (!text.empty()) {
    const size_t end = std::min(text.find("\n\n"), text.size());
    paragraphs.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return paragraphs;
}

std::string read_if_there(const fs::path& file) {
  std::error_code error;
  return fs::is_regular_file(file, error) ? read_whole_file(file) : std::string();
}

// The package whose documentation is all that a folder holds, as after dpkg -x.
std::string only_documented(const fs::path& root) {
  std::error_code error;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root / "usr/share/doc", error))
    if (fs::exists(entry.path() / "copyright", error)) names.push_back(entry.path().filename());
  return names.size() == 1 ? names[0] : "";
}

}  // namespace

std::string spdx_licence(std::string_view debian_name) {
  static const std::map<std::string_view, std::string_view> versions = {
      {"GPL-1", "GPL-1.0"},     {"GPL-1.0", "GPL-1.0"},   {"GPL-2", "GPL-2.0"},     {"GPL-2.0", "GPL-2.0"},
      {"GPL-3", "GPL-3.0"},     {"GPL-3.0", "GPL-3.0"},   {"LGPL-2", "LGPL-2.0"},   {"LGPL-2.0", "LGPL-2.0"},
      {"LGPL-2.1", "LGPL-2.1"}, {"LGPL-3", "LGPL-3.0"},   {"LGPL-3.0", "LGPL-3.0"}, {"AGPL-3", "AGPL-3.0"},
      {"AGPL-3.0", "AGPL-3.0"}, {"GFDL-1.2", "GFDL-1.2"}, {"GFDL-1.3", "GFDL-1.3"}};
  static const std::map<std::string_view, std::string_view> others = {{"Expat", "MIT"},
                                                                      {"expat", "MIT"},
                                                                      {"public-domain", "public domain"},
                                                                      {"MPL-2", "MPL-2.0"},
                                                                      {"Apache-2", "Apache-2.0"}};
  const bool or_later = debian_name.ends_with('+');
  const std::string_view base = or_later ? debian_name.substr(0, debian_name.size() - 1) : debian_name;
  if (const auto found = versions.find(base); found != versions.end())
    return std::string(found->second) + (or_later ? "-or-later" : "-only");
  const auto found = others.find(debian_name);
  return std::string(found == others.end() ? debian_name : found->second);
}

std::string licence_of_copyright(std::string_view copyright) {
  if (copyright.find("copyright-format/1.0") == std::string_view::npos) return {};
  for (const std::string_view paragraph : paragraphs_of(copyright))
    if (field_of(paragraph, "Files") == "*") return spdx_licence(field_of(paragraph, "License"));
  return {};
}

void PackageIndex::read_lists() {
  lists_read_ = true;
  std::error_code error;
  std::vector<fs::path> lists;
  for (const auto& entry : fs::directory_iterator(root_ / "var/lib/dpkg/info", error))
    if (entry.path().extension() == ".list") lists.push_back(entry.path());
  std::sort(lists.begin(), lists.end());
  for (const fs::path& list : lists) {
    const std::string stem = list.stem();
    const std::string package = stem.substr(0, stem.find(':'));
    std::ifstream lines(list);
    for (std::string line; std::getline(lines, line);)
      if (line.ends_with(".mo")) owners_.emplace(line, package);
  }
  const std::string status = read_if_there(root_ / "var/lib/dpkg/status");
  for (const std::string_view paragraph : paragraphs_of(status))
    versions_[field_of(paragraph, "Package")] = field_of(paragraph, "Version");
}

Package PackageIndex::describe(const std::string& name, const std::string& version,
                               const fs::path& root) const {
  std::string licence = licence_of_copyright(read_if_there(root / "usr/share/doc" / name / "copyright"));
  if (licence.empty()) licence = "see /usr/share/doc/" + name + "/copyright";
  return {.name = name, .version = version, .licence = licence};
}

Package PackageIndex::installed(const fs::path& file) {
  if (!lists_read_) read_lists();
  const auto owner = owners_.find(file.lexically_normal().string());
  if (owner == owners_.end()) return {.name = "", .version = "", .licence = "unknown"};
  return describe(owner->second, versions_[owner->second], root_);
}

Package PackageIndex::unpacked(const fs::path& file) {
  const fs::path folder = fs::absolute(file).lexically_normal().parent_path();
  if (const auto known = unpacked_.find(folder); known != unpacked_.end()) return known->second;
  Package package = {.name = "", .version = "", .licence = "unknown"};
  // The file system's own root is not a folder that something was unpacked into.
  for (fs::path above = folder; above.has_relative_path(); above = above.parent_path()) {
    const std::string control = read_if_there(above / "DEBIAN/control");
    const std::string name = control.empty() ? only_documented(above) : field_of(control, "Package");
    if (name.empty()) continue;
    package = describe(name, field_of(control, "Version"), above);
    break;
  }
  return unpacked_[folder] = package;
}

}  // namespace fern
