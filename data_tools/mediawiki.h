// MediaWiki's interface messages: folders of JSON files, one a language, with en.json as the source and
// qqq.json as its documentation (www.mediawiki.org, "Localisation file format").
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace fern {

// Messages of one file by key, without "@metadata". Errors: not UTF-8 or not JSON (with line and column), not
// an object of strings.
std::map<std::string, std::string> read_mediawiki_messages(const std::filesystem::path& file);

// Every folder under `root` (itself included) that holds en.json and qqq.json, in path order.
std::vector<std::filesystem::path> find_mediawiki_folders(const std::filesystem::path& root);

}  // namespace fern
