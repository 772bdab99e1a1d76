// Which files hold which language's segments.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data_tools/segment.h"

namespace fern {

// One JSONL file of one language, with what its segments' origins mean.
struct SegmentFile {
  std::filesystem::path path;
  std::shared_ptr<const std::vector<Origin>> origins;  // null for a file outside a collection

  // Where the segment is from ("gettext"); "jsonl" for a file outside a collection. Errors: an origin that
  // the collection does not list.
  const std::string& source_of(const Segment& segment) const;
};

using LanguageFiles = std::map<std::string, std::vector<SegmentFile>>;

// Each path is a collection (a folder with segments/), a folder of JSONL files or one such file. Outside a
// collection a file's language is that of its first segment. Errors: a path that is not there, no JSONL file
// in any.
LanguageFiles find_segment_files(const std::vector<std::string>& paths);

}  // namespace fern
