// From segments to instruction examples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data_tools/corpus.h"
#include "data_tools/templates.h"

namespace fern {

struct Example {
  std::string prompt, completion;
};

enum class Shots { kAsDrawn, kNone };

// Makes one example of each segment of a corpus. Task, wording and shots are drawn by the segment's own id,
// so an example does not depend on what other segments or languages there are, except that its shots come
// from the training split of the same language. Borrows tasks and corpus.
class ExampleMaker {
 public:
  ExampleMaker(const std::vector<Task>& tasks, const Corpus& corpus);

  // Nothing where no task fits, or (Shots::kNone) where the drawn task has no wording without shots.
  // REQUIRES index < corpus.segments.size().
  std::optional<Example> make(size_t index, Shots shots = Shots::kAsDrawn) const;

 private:
  const Task* draw_task(const CorpusSegment& segment) const;
  const Wording* draw_wording(const Task& task, const CorpusSegment& segment, bool with_shots) const;
  std::string draw_shots(const Wording& wording, const Task& task, size_t index) const;
  Values values_of(const Segment& segment) const;

  const std::vector<Task>& tasks_;
  const Corpus& corpus_;
  std::string language_;                            // its name in English
  std::vector<std::vector<size_t>> train_by_task_;  // training segments that each task fits
};

// Every wording's prompt for a language, without the segment's texts: what all its examples have in common.
std::vector<std::string> bare_prompts(const std::vector<Task>& tasks, const std::string& language_name);

}  // namespace fern
