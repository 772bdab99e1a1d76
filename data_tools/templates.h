// Instruction tasks: one TOML file each in the recipe's templates folder (the README.md there is the guide).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data_tools/segment.h"
#include "data_tools/template_text.h"

namespace fern {

// One way to say a task.
struct Wording {
  TemplateText prompt, completion;
  TemplateText shot;                        // one example in {{ shots }}; empty when the prompt has none
  int64_t least_shots = 0, most_shots = 0;  // how many examples, drawn evenly between the two
};

struct Task {
  std::string name;   // of the file, without .toml
  double weight = 1;  // how often it is drawn among the tasks that fit a segment
  std::vector<SegmentKind> kinds;
  std::vector<Wording> wordings;

  // True when the segment is of one of `kinds` and has a value for every variable that the task uses.
  bool fits(const Segment& segment) const;
};

// The tasks of a folder, in the order of their names. Errors (kBadUsage), with file and line: no folder, no
// task in it, not TOML, an unknown key or variable, a value of another type, a prompt without wording,
// {{ shots }} without `shot` and the reverse, weights or counts out of range.
std::vector<Task> read_tasks(const std::filesystem::path& folder);

}  // namespace fern
