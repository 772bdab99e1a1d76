#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "data_tools/segment.h"
#include "framework/core/error.h"
#include "launch/inspect/inspect.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

int64_t lines_of(const fs::path& file) {
  std::ifstream in(file);
  expect(in.good(), "{}: cannot be read; run fern collect again", file.string());
  return std::count(std::istreambuf_iterator<char>(in), {}, '\n');
}

// Counts segments, checking that each is one and that its origin is there.
int64_t count_segments(const fs::path& file, int64_t origins) {
  int64_t count = 0;
  read_segments(file, [&](const Segment& segment) {
    ++count;
    expect(segment.origin >= 0 && segment.origin < origins, "{}: segment {} has origin {}, expected 0 to {}",
           file.string(), count, segment.origin, origins - 1);
  });
  return count;
}

nlohmann::ordered_json describe_collection(const fs::path& folder) {
  const int64_t origins = lines_of(folder / "origins.jsonl");
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder / "segments")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  int64_t total = 0;
  nlohmann::ordered_json languages = nlohmann::ordered_json::object();
  for (const fs::path& file : files) {
    const int64_t count = count_segments(file, origins);
    languages[file.stem().string()] = count;
    total += count;
  }
  return {{"kind", "collection"}, {"path", folder.string()}, {"languages", languages.size()},
          {"segments", total},    {"origins", origins},      {"segments_per_language", languages},
          {"verified", true}};
}

}  // namespace

Inspector collection_inspector() {
  return {"a collection of `fern collect`",
          [](const fs::path& path) { return fs::is_directory(path / "segments"); }, describe_collection};
}

}  // namespace fern
