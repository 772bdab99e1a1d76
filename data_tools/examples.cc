#include "data_tools/examples.h"

#include <algorithm>

#include "data_tools/language_name.h"
#include "framework/core/rng.h"

namespace fern {
namespace {

// What each draw for a segment is for; part of every result, so the numbers stay.
constexpr uint32_t kTaskDraw = 0, kWordingDraw = 1, kShotCountDraw = 2, kFirstShotDraw = 3;

uint64_t draw_below(uint64_t bound, const CorpusSegment& segment, uint32_t draw) {
  return random_below(bound, 0, Purpose::kTemplate, segment.id, draw);
}

}  // namespace

ExampleMaker::ExampleMaker(const std::vector<Task>& tasks, const Corpus& corpus)
    : tasks_(tasks),
      corpus_(corpus),
      language_(language_name(corpus.language)),
      train_by_task_(tasks.size()) {
  for (size_t i = 0; i < corpus.segments.size(); ++i) {
    if (corpus.segments[i].split != Split::kTrain) continue;
    for (size_t task = 0; task < tasks.size(); ++task) {
      if (tasks[task].fits(corpus.segments[i].segment)) train_by_task_[task].push_back(i);
    }
  }
}

const Task* ExampleMaker::draw_task(const CorpusSegment& segment) const {
  double total = 0;
  for (const Task& task : tasks_) total += task.fits(segment.segment) ? task.weight : 0;
  double place = total * random_uniform(0, Purpose::kTemplate, segment.id, kTaskDraw);
  const Task* last = nullptr;
  for (const Task& task : tasks_) {
    if (!task.fits(segment.segment)) continue;
    last = &task;
    place -= task.weight;
    if (place < 0) break;
  }
  return last;
}

const Wording* ExampleMaker::draw_wording(const Task& task, const CorpusSegment& segment,
                                          bool with_shots) const {
  const auto usable = [&](const Wording& wording) { return with_shots || wording.most_shots == 0; };
  const auto count = std::count_if(task.wordings.begin(), task.wordings.end(), usable);
  if (count == 0) return nullptr;
  auto left = draw_below(static_cast<uint64_t>(count), segment, kWordingDraw);
  for (const Wording& wording : task.wordings) {
    if (usable(wording) && left-- == 0) return &wording;
  }
  return nullptr;
}

std::string ExampleMaker::draw_shots(const Wording& wording, const Task& task, size_t index) const {
  const CorpusSegment& segment = corpus_.segments[index];
  const std::vector<size_t>& pool = train_by_task_[&task - tasks_.data()];
  const auto spread = static_cast<uint64_t>(wording.most_shots - wording.least_shots + 1);
  const size_t count = wording.least_shots + draw_below(spread, segment, kShotCountDraw);
  std::vector<size_t> chosen{index};
  std::string shots;
  for (uint32_t draw = kFirstShotDraw; chosen.size() <= count; ++draw) {
    const size_t shot = pool[draw_below(pool.size(), segment, draw)];
    if (std::find(chosen.begin(), chosen.end(), shot) != chosen.end()) continue;
    chosen.push_back(shot);
    shots += wording.shot.render(values_of(corpus_.segments[shot].segment));
  }
  return shots;
}

Values ExampleMaker::values_of(const Segment& segment) const {
  Values values;
  values[Variable::kLanguage] = language_;
  values[Variable::kEnglish] = segment.english;
  values[Variable::kText] = segment.text;
  values[Variable::kNote] = segment.note;
  return values;
}

std::optional<Example> ExampleMaker::make(size_t index, Shots shots) const {
  const CorpusSegment& segment = corpus_.segments[index];
  const Task* task = draw_task(segment);
  if (!task) return std::nullopt;
  constexpr size_t kEnoughToDrawFrom = 20;  // at most ten shots, none of them twice
  const bool enough = train_by_task_[task - tasks_.data()].size() >= kEnoughToDrawFrom;
  const Wording* wording = draw_wording(*task, segment, shots == Shots::kAsDrawn && enough);
  if (!wording) return std::nullopt;
  Values values = values_of(segment.segment);
  const std::string examples = wording->most_shots > 0 ? draw_shots(*wording, *task, index) : std::string();
  values[Variable::kShots] = examples;
  return Example{.prompt = wording->prompt.render(values), .completion = wording->completion.render(values)};
}

std::vector<std::string> bare_prompts(const std::vector<Task>& tasks, const std::string& language_name) {
  Values values;
  values[Variable::kLanguage] = language_name;
  std::vector<std::string> prompts;
  for (const Task& task : tasks) {
    for (const Wording& wording : task.wordings) prompts.push_back(wording.prompt.render(values));
  }
  return prompts;
}

}  // namespace fern
