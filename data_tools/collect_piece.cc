#include "data_tools/collect_piece.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "data_tools/collect_file.h"
#include "data_tools/gettext.h"
#include "data_tools/gettext_plural.h"
#include "data_tools/language_code.h"
#include "data_tools/mediawiki.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// Domains of the iso-codes package, under their names of today and of yesterday.
SegmentKind kind_of_domain(const std::string& domain) {
  for (const char* countries : {"iso_3166", "iso_3166-1", "iso_3166-3"})
    if (domain == countries) return SegmentKind::kCountry;
  for (const char* languages : {"iso_639", "iso_639-2", "iso_639-3", "iso_639_3"})
    if (domain == languages) return SegmentKind::kLanguage;
  return SegmentKind::kMessage;
}

std::vector<Segment> read_gettext_segments(const fs::path& file) {
  const SegmentKind kind = kind_of_domain(file.stem());
  const GettextCatalogue catalogue = read_gettext(file);
  std::vector<Segment> segments;
  for (const GettextEntry& entry : catalogue.entries)
    for (GettextPair& pair : pairs_of(entry, catalogue))
      segments.push_back({.english = std::move(pair.english),
                          .text = std::move(pair.text),
                          .key = entry.context,
                          .kind = kind});
  return segments;
}

// What all languages of a MediaWiki folder share.
struct MediawikiFolder {
  std::map<std::string, std::string> english;
  std::map<std::string, std::string> notes;  // cleaned
};

std::shared_ptr<const MediawikiFolder> open_mediawiki_folder(const fs::path& folder) {
  auto result = std::make_shared<MediawikiFolder>();
  result->english = read_mediawiki_messages(folder / "en.json");
  for (const auto& [key, note] : read_mediawiki_messages(folder / "qqq.json")) {
    // Their own words for "not for translators": names, formats, code.
    if (note.find("{{notranslate") != std::string::npos || note.find("{{ignored") != std::string::npos)
      result->english.erase(key);
    result->notes[key] = clean_note(note);
  }
  return result;
}

std::vector<Segment> read_mediawiki_segments(const fs::path& file, const MediawikiFolder& folder) {
  const bool is_english = file.stem() == "en";
  std::vector<Segment> segments;
  for (auto& [key, text] : read_mediawiki_messages(file)) {
    const auto english = folder.english.find(key);
    if (english == folder.english.end()) continue;
    const auto note = folder.notes.find(key);
    segments.push_back({.english = is_english ? "" : english->second,
                        .text = text,
                        .note = note == folder.notes.end() ? "" : note->second,
                        .key = key});
  }
  return segments;
}

// One segment a paragraph where blank lines divide the file, else one a line.
std::vector<Segment> read_text_segments(const fs::path& file) {
  const std::string content = read_whole_file(file);
  expect_utf8(content, file);
  std::vector<std::string> lines;
  bool blank_inside = false;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    lines.push_back(content.substr(begin, end - begin));
    begin = end + 1;
  }
  const auto is_blank = [](const std::string& line) {
    return line.find_first_not_of(" \t\r") == std::string::npos;
  };
  while (!lines.empty() && is_blank(lines.back())) lines.pop_back();
  blank_inside = std::any_of(lines.begin(), lines.end(), is_blank);
  std::vector<Segment> segments;
  bool open = false;
  for (std::string& line : lines) {
    if (is_blank(line)) {
      open = false;
      continue;
    }
    if (open)
      segments.back().text += "\n" + line;
    else
      segments.push_back({.text = std::move(line), .kind = SegmentKind::kProse});
    open = blank_inside;
  }
  return segments;
}

// Segments of a JSONL file by language; text alone is prose.
std::map<std::string, std::vector<Segment>> read_jsonl(const fs::path& file,
                                                       std::map<std::string, int64_t>& refused) {
  std::map<std::string, std::vector<Segment>> languages;
  std::map<std::string, std::optional<std::string>> tags;
  read_segments(file, [&](Segment segment) {
    const auto [known, is_new] = tags.try_emplace(segment.language);
    if (is_new) known->second = normalise_language(segment.language);
    if (!known->second) {
      ++refused[segment.language];
      return;
    }
    if (segment.english.empty() && segment.kind == SegmentKind::kMessage) segment.kind = SegmentKind::kProse;
    languages[*known->second].push_back(std::move(segment));
  });
  return languages;
}

std::string source_name(const Source& source, const fs::path& file) {
  switch (source.kind) {
    case SourceKind::kMediawiki:
      return "mediawiki";
    case SourceKind::kJsonl:
      return "jsonl";
    case SourceKind::kText:
      return "text";
    default:
      return file.stem().string().starts_with("iso_") ? "iso-codes" : "gettext";
  }
}

class PieceMaker {
 public:
  PieceMaker(const Source& source, PackageIndex& packages, const std::string& licence)
      : source_(source), packages_(packages), licence_(licence) {}

  Pieces make() {
    for (const SourceFile& file : source_.files) {
      if (source_.kind == SourceKind::kJsonl) {
        add_jsonl(file.path);
        continue;
      }
      const auto language = normalise_language(file.code);
      if (!language)
        ++result_.refused[file.code];
      else if (!(is_gettext() && *language == "en"))  // English in English
        add(file.path, *language, reader_of(file.path));
    }
    return std::move(result_);
  }

 private:
  bool is_gettext() const {
    return source_.kind == SourceKind::kGettext || source_.kind == SourceKind::kMachineGettext;
  }

  std::function<std::vector<Segment>()> reader_of(const fs::path& file) {
    if (is_gettext()) return [file] { return read_gettext_segments(file); };
    if (source_.kind == SourceKind::kText) return [file] { return read_text_segments(file); };
    auto& folder = folders_[file.parent_path()];
    if (!folder) folder = open_mediawiki_folder(file.parent_path());
    return [file, folder] { return read_mediawiki_segments(file, *folder); };
  }

  void add_jsonl(const fs::path& file) {
    for (auto& [language, segments] : read_jsonl(file, result_.refused)) {
      auto held = std::make_shared<std::vector<Segment>>(std::move(segments));
      add(file, language, [held] { return std::move(*held); });
    }
  }

  void add(const fs::path& file, const std::string& language, std::function<std::vector<Segment>()> read) {
    const bool machine = source_.kind == SourceKind::kMachineGettext;
    const bool own = source_.kind == SourceKind::kJsonl || source_.kind == SourceKind::kText;
    const Package package = own       ? Package{.name = "", .version = "", .licence = licence_}
                            : machine ? packages_.installed(file)
                                      : packages_.unpacked(file);
    result_.pieces.push_back({.language = language,
                              .origin = {.source = source_name(source_, file),
                                         .package = package.name,
                                         .version = package.version,
                                         .licence = package.licence,
                                         .file = file.string()},
                              .style = style(),
                              .bytes = static_cast<int64_t>(fs::file_size(file)),
                              .may_be_broken = machine,
                              .read = std::move(read)});
  }

  TextStyle style() const {
    if (is_gettext()) return TextStyle::kGettext;
    return source_.kind == SourceKind::kMediawiki ? TextStyle::kMediawiki : TextStyle::kPlain;
  }

  const Source& source_;
  PackageIndex& packages_;
  const std::string& licence_;
  std::map<fs::path, std::shared_ptr<const MediawikiFolder>> folders_;
  Pieces result_;
};

}  // namespace

Pieces open_pieces(const Source& source, PackageIndex& packages, const std::string& licence) {
  return PieceMaker(source, packages, licence).make();
}

}  // namespace fern
