// A collection for tests: few words, many combinations, so that segments are distinct and quick to read.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "data_tools/segment.h"

namespace fern {

inline std::string small_english(int i) {
  const std::vector<std::string> verbs = {"Open", "Close", "Save", "Delete", "Print", "Copy", "Send", "Find"};
  const std::vector<std::string> things = {"file",   "folder",  "page",   "letter",
                                           "window", "picture", "message"};
  const std::vector<std::string> places = {"here", "there", "now", "again", "later", "twice"};
  return verbs[i % 8] + " the " + things[i / 8 % 7] + " " + places[i / 56 % 6];
}

// Not a language, but text that follows the English and is told apart from it.
inline std::string small_text(const std::string& language, int i) {
  std::string text = small_english(i);
  for (char& c : text) {
    if (c == 'e') c = 'a';
    if (c == 'o') c = 'u';
  }
  return text + " " + language;
}

inline std::vector<Segment> small_segments(const std::string& language, int count) {
  std::vector<Segment> segments;
  for (int i = 0; i < count; ++i)
    segments.push_back({.language = language, .english = small_english(i), .text = small_text(language, i)});
  return segments;
}

inline void write_lines(const std::filesystem::path& file, const std::vector<Segment>& segments) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out(file);
  for (const Segment& segment : segments) out << to_json_line(segment) << '\n';
}

// Adds a language to the collection in `folder`.
inline void add_language(const std::filesystem::path& folder, const std::string& language, int count) {
  write_lines(folder / "segments" / (language + ".jsonl"), small_segments(language, count));
  std::ofstream(folder / "origins.jsonl") << to_json_line(Origin{.source = "gettext"}) << '\n';
}

}  // namespace fern
