#include "data_tools/examples.h"

#include <gtest/gtest.h>

#include <set>

#include "data_tools/language_name.h"
#include "tests/data_tools/small_collection.h"

namespace fern {
namespace {

TemplateText text_of(std::string_view text) { return TemplateText(text, {}); }

Task task_of(const std::string& name, double weight, std::string_view prompt, std::string_view completion) {
  Wording wording;
  wording.prompt = text_of(prompt);
  wording.completion = text_of(completion);
  return {.name = name, .weight = weight, .kinds = {SegmentKind::kMessage}, .wordings = {wording}};
}

Task with_shots(Task task, int64_t least, int64_t most) {
  task.wordings[0].prompt = text_of("{{ shots }}{{ english }}");
  task.wordings[0].shot = text_of("<{{ text }}>");
  task.wordings[0].least_shots = least;
  task.wordings[0].most_shots = most;
  return task;
}

Corpus corpus_of(int count, const std::string& language = "sw") {
  const auto file = std::filesystem::path(testing::TempDir()) / "examples.jsonl";
  write_lines(file, small_segments(language, count));
  return read_corpus(language, {{.path = file, .origins = nullptr}},
                     {.valid_percent = 20, .test_percent = 20});
}

TEST(LanguageName, IsEnglish) {
  EXPECT_EQ(language_name("sw"), "Swahili");
  EXPECT_EQ(language_name("sr-Latn"), "Serbian (Latin)");
  EXPECT_EQ(language_name("qqx"), "qqx");
}

TEST(Examples, PutTheLanguageAndTextsIn) {
  const std::vector<Task> tasks = {task_of("ask", 1, "{{ language }}: {{ english }}", "{{ text }}")};
  const Corpus corpus = corpus_of(3);
  const auto example = ExampleMaker(tasks, corpus).make(1);
  ASSERT_TRUE(example);
  EXPECT_EQ(example->prompt, "Swahili: " + small_english(1));
  EXPECT_EQ(example->completion, small_text("sw", 1));
}

TEST(Examples, TasksAreDrawnByWeight) {
  const std::vector<Task> tasks = {task_of("a", 3, "a", "{{ text }}"), task_of("b", 1, "b", "{{ text }}")};
  const Corpus corpus = corpus_of(336);
  const ExampleMaker maker(tasks, corpus);
  int first = 0;
  for (size_t i = 0; i < corpus.segments.size(); ++i) first += maker.make(i)->prompt == "a";
  EXPECT_NEAR(first, 252, 35);
}

TEST(Examples, DoNotDependOnOtherSegments) {
  const std::vector<Task> tasks = {task_of("a", 1, "a", "{{ text }}"), task_of("b", 1, "b", "{{ text }}")};
  const Corpus few = corpus_of(50), many = corpus_of(300);
  for (size_t i = 0; i < 50; ++i)
    EXPECT_EQ(ExampleMaker(tasks, few).make(i)->prompt, ExampleMaker(tasks, many).make(i)->prompt);
}

TEST(Examples, ShotsAreDistinctTrainingTextsAndNotTheQuestion) {
  const std::vector<Task> tasks = {with_shots(task_of("a", 1, "", "{{ text }}"), 1, 3)};
  const Corpus corpus = corpus_of(200);
  std::set<std::string> training;
  for (const auto& segment : corpus.segments)
    if (segment.split == Split::kTrain) training.insert(segment.segment.text);
  const ExampleMaker maker(tasks, corpus);
  std::set<size_t> counts;
  for (size_t i = 0; i < corpus.segments.size(); ++i) {
    const std::string prompt = maker.make(i)->prompt;
    std::set<std::string> shots;
    size_t shown = 0;
    for (size_t open = prompt.find('<'); open != prompt.npos; open = prompt.find('<', open + 1), ++shown)
      shots.insert(prompt.substr(open + 1, prompt.find('>', open) - open - 1));
    EXPECT_EQ(shots.size(), shown);
    counts.insert(shown);
    EXPECT_FALSE(shots.contains(corpus.segments[i].segment.text));
    for (const std::string& shot : shots) EXPECT_TRUE(training.contains(shot)) << shot;
  }
  EXPECT_EQ(counts, (std::set<size_t>{1, 2, 3}));
}

TEST(Examples, TooFewForShotsUsesAWordingWithout) {
  Task task = with_shots(task_of("a", 1, "", "{{ text }}"), 1, 3);
  const Corpus corpus = corpus_of(10);
  Wording plain;
  plain.prompt = text_of("plain");
  plain.completion = text_of("{{ text }}");
  task.wordings.push_back(plain);
  const std::vector<Task> tasks = {task};
  const ExampleMaker maker(tasks, corpus);
  for (size_t i = 0; i < corpus.segments.size(); ++i) EXPECT_EQ(maker.make(i)->prompt, "plain");
}

TEST(Examples, NoFittingTaskGivesNothing) {
  const std::vector<Task> tasks = {task_of("a", 1, "{{ note }}", "{{ text }}")};
  const Corpus corpus = corpus_of(5);
  EXPECT_FALSE(ExampleMaker(tasks, corpus).make(0));
}

TEST(Examples, BarePromptsHaveTheLanguageOnly) {
  const std::vector<Task> tasks = {task_of("a", 1, "{{ english }} in {{ language }}", "{{ text }}")};
  EXPECT_EQ(bare_prompts(tasks, "Swahili"), std::vector<std::string>{" in Swahili"});
}

}  // namespace
}  // namespace fern
