// Sources: what `fern collect` is told to read, and the files that this means.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fern {

enum class SourceKind {
  kMachineGettext,  // gettext           the machine's own catalogues, /usr/share/locale/*/LC_MESSAGES/*.mo
  kGettext,         // gettext:DIR       every <language>/LC_MESSAGES/*.mo under DIR, and <language>.mo
  kMediawiki,       // mediawiki:DIR     every folder under DIR with en.json and qqq.json
  kJsonl,  // jsonl:PATH        {"text": ..., "language": ..., "english": ...}: a file, or *.jsonl under PATH
  kText,   // text:FILE:LANG    one segment a line, or a paragraph when lines are blank between them
};         // text:DIR          files named LANG.txt, directly in DIR

struct SourceFile {
  std::filesystem::path path;
  std::string code;  // what the source calls the language; "" when the file itself says (JSONL)
};

struct Source {
  SourceKind kind;
  std::filesystem::path path;     // as given; the machine's folder for kMachineGettext
  std::vector<SourceFile> files;  // in path order, links left out
};

// Understands one SOURCE argument and lists its files. A bare path is recognised by what it holds. Errors
// (usage): no such path, an unknown prefix, a path that holds nothing of the kind, or of several kinds.
Source open_source(const std::string& argument,
                   const std::filesystem::path& machine_folder = "/usr/share/locale");

}  // namespace fern
