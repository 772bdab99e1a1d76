#include "data_tools/segment_files.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "framework/core/error.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> jsonl_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == ".jsonl") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void add_lone_file(LanguageFiles& languages, const fs::path& file) {
  std::string language;
  read_segments(file, [&](const Segment& segment) {
    if (language.empty()) language = segment.language;
  });
  if (!language.empty()) languages[language].push_back({.path = file, .origins = nullptr});
}

void add_collection(LanguageFiles& languages, const fs::path& folder) {
  const auto origins = std::make_shared<const std::vector<Origin>>(read_origins(folder / "origins.jsonl"));
  for (const fs::path& file : jsonl_files(folder / "segments")) {
    languages[file.stem().string()].push_back({.path = file, .origins = origins});
  }
}

}  // namespace

const std::string& SegmentFile::source_of(const Segment& segment) const {
  static const std::string lone = "jsonl";
  if (!origins) return lone;
  expect(segment.origin >= 0 && segment.origin < static_cast<int64_t>(origins->size()),
         "{}: a segment names origin {}, but the collection lists {}; run fern collect again", path.string(),
         segment.origin, origins->size());
  return (*origins)[segment.origin].source;
}

LanguageFiles find_segment_files(const std::vector<std::string>& paths) {
  LanguageFiles languages;
  for (const fs::path path : paths) {
    expect(fs::exists(path), "data.segments: {} is not there; run fern collect SOURCE... --out {}",
           path.string(), path.string());
    if (fs::is_directory(path / "segments")) {
      add_collection(languages, path);
    } else if (fs::is_directory(path)) {
      for (const fs::path& file : jsonl_files(path)) add_lone_file(languages, file);
    } else {
      add_lone_file(languages, path);
    }
  }
  expect(!languages.empty(), "data.segments: no segments in {}; expected what fern collect writes",
         fmt::join(paths, ", "));
  return languages;
}

}  // namespace fern
