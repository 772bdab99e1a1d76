#include "data_tools/templates.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "framework/core/error.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

// A folder with one task file.
fs::path folder_with(const std::string& content) {
  const fs::path folder = fs::path(testing::TempDir()) / "templates";
  fs::remove_all(folder);
  fs::create_directories(folder);
  std::ofstream(folder / "ask.toml") << content;
  return folder;
}

std::string error_of(const std::string& content) {
  try {
    read_tasks(folder_with(content));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    return error.what();
  }
  return "";
}

void expect_refused(const std::string& content, const std::string& part) {
  const std::string message = error_of(content);
  EXPECT_NE(message.find(part), std::string::npos) << "got: " << message;
}

Values values_of(std::string_view language, std::string_view english, std::string_view text) {
  Values values;
  values[Variable::kLanguage] = language;
  values[Variable::kEnglish] = english;
  values[Variable::kText] = text;
  return values;
}

TEST(TemplateText, PutsValuesInAsTheyAre) {
  const TemplateText text("{{language}}: {{ text }} = {{ english }}!", {});
  EXPECT_EQ(text.render(values_of("Swahili", "{{ text }}", "a {b}")), "Swahili: a {b} = {{ text }}!");
}

TEST(TemplateText, KnowsWhatItUses) {
  const TemplateText text("{{ note }} of {text}", {});
  EXPECT_TRUE(text.uses(Variable::kNote));
  EXPECT_FALSE(text.uses(Variable::kText));
}

TEST(Templates, ReadsWordings) {
  const auto tasks = read_tasks(folder_with(R"(
weight = 2.5
kinds = ["country"]
completion = "{{ text }}"
[[wording]]
prompt = "Say {{ english }}"
[[wording]]
prompt = "{{ shots }}{{ text }}"
completion = "{{ english }}"
shots = [1, 3]
shot = "{{ text }}={{ english }};"
)"));
  ASSERT_EQ(tasks.size(), 1u);
  EXPECT_EQ(tasks[0].name, "ask");
  EXPECT_EQ(tasks[0].weight, 2.5);
  ASSERT_EQ(tasks[0].wordings.size(), 2u);
  EXPECT_EQ(tasks[0].wordings[0].completion.render(values_of("", "e", "t")), "t");
  EXPECT_EQ(tasks[0].wordings[1].completion.render(values_of("", "e", "t")), "e");
  EXPECT_EQ(tasks[0].wordings[1].least_shots, 1);
  EXPECT_EQ(tasks[0].wordings[1].most_shots, 3);
}

TEST(Templates, FitsByKindAndByValue) {
  const auto tasks = read_tasks(folder_with(
      "kinds = [\"message\"]\ncompletion = \"{{ note }}\"\n[[wording]]\nprompt = \"Why {{ text }}\"\n"));
  Segment segment{.language = "sw", .text = "Fungua", .note = "a button"};
  EXPECT_TRUE(tasks[0].fits(segment));
  segment.note.clear();
  EXPECT_FALSE(tasks[0].fits(segment));
  segment = {.language = "sw", .text = "Kenya", .note = "a", .kind = SegmentKind::kCountry};
  EXPECT_FALSE(tasks[0].fits(segment));
}

TEST(Templates, UnknownVariableNamesFileAndLine) {
  expect_refused("completion = \"{{ text }}\"\n[[wording]]\nprompt = \"\"\"\nA\nB {{ txt }}\"\"\"\n",
                 "ask.toml:5: unknown variable {{ txt }}");
  expect_refused("completion = \"{{ txt }}\"\n[[wording]]\nprompt = \"a\"\n", "ask.toml:1: unknown variable");
  expect_refused("completion = \"\"\"{{ text }}\n{{ txt }}\"\"\"\n[[wording]]\nprompt = \"a\"\n",
                 "ask.toml:2:");
}

TEST(Templates, UnclosedBracesNameFileAndLine) {
  expect_refused("completion = \"{{ text\"\n[[wording]]\nprompt = \"a\"\n", "ask.toml:1: expected \"}}\"");
}

TEST(Templates, BadFilesNameFileAndLine) {
  expect_refused("completion = \n", "ask.toml:1: ");
  expect_refused("completion = \"a\"\nwhat = 1\n", "ask.toml:2: unknown key what");
  expect_refused("completion = \"a\"\n", "at least one [[wording]]");
  expect_refused("completion = \"a\"\n[[wording]]\ncompletion = \"b\"\n", "ask.toml:2: expected a prompt");
  expect_refused("weight = 0\ncompletion = \"a\"\n[[wording]]\nprompt = \"b\"\n",
                 "ask.toml:1: expected weight");
  expect_refused("kinds = [\"city\"]\ncompletion = \"a\"\n[[wording]]\nprompt = \"b\"\n", "expected a kind");
  expect_refused("completion = 3\n[[wording]]\nprompt = \"b\"\n", "expected completion as a string");
}

TEST(Templates, ShotsGoTogether) {
  const std::string head = "completion = \"a\"\n[[wording]]\n";
  expect_refused(head + "prompt = \"{{ shots }}b\"\n", "ask.toml:2: {{ shots }} in the prompt");
  expect_refused(head + "prompt = \"b\"\nshot = \"x\"\nshots = 1\n", "go together");
  expect_refused(head + "prompt = \"{{ shots }}b\"\nshot = \"x\"\nshots = [3, 1]\n", "expected shots");
  expect_refused(head + "prompt = \"{{ shots }}b\"\nshot = \"{{ shots }}\"\nshots = 1\n", "in a prompt only");
}

TEST(Templates, MissingOrEmptyFolderIsNamed) {
  const fs::path folder = folder_with("");
  fs::remove(folder / "ask.toml");
  EXPECT_THROW(read_tasks(folder), Error);
  EXPECT_THROW(read_tasks(folder / "none"), Error);
}

// The templates that come with the recipes.
TEST(Templates, ShippedTasksAreWellFormed) {
  const auto tasks = read_tasks(FERN_TEMPLATES);
  EXPECT_EQ(tasks.size(), 6u);
  for (const Task& task : tasks) EXPECT_GE(task.wordings.size(), 3u) << task.name;
}

}  // namespace
}  // namespace fern
