#include "data_tools/templates.h"

#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>

#include "framework/core/error.h"

namespace fern {
namespace {

constexpr std::array<SegmentKind, 4> kAllKinds = {SegmentKind::kMessage, SegmentKind::kCountry,
                                                  SegmentKind::kLanguage, SegmentKind::kProse};

// A task file being read.
class TaskFile {
 public:
  explicit TaskFile(const std::filesystem::path& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail_errno("cannot read " + path.string());
    source_.assign(std::istreambuf_iterator<char>(file), {});
    try {
      root_ = toml::parse(source_, path.string());
    } catch (const toml::parse_error& error) {
      fail_usage("{}:{}: {}", path.string(), error.source().begin.line, error.description());
    }
  }

  Task task() const {
    check_keys(root_, {"weight", "kinds", "completion", "wording"});
    Task task{.name = path_.stem().string(), .weight = weight(), .kinds = kinds(), .wordings = {}};
    const toml::node* wordings = root_.get("wording");
    if (!wordings || !wordings->is_array_of_tables())
      fail_usage("{}: expected at least one [[wording]]", path_.string());
    for (const toml::node& node : *wordings->as_array()) task.wordings.push_back(wording(*node.as_table()));
    return task;
  }

 private:
  std::string where(const toml::source_region& region) const {
    return fmt::format("{}:{}", path_.string(), region.begin.line);
  }

  void check_keys(const toml::table& table, const std::vector<std::string_view>& known) const {
    for (const auto& [key, node] : table) {
      if (std::find(known.begin(), known.end(), key.str()) == known.end())
        fail_usage("{}: unknown key {}; expected one of {}", where(key.source()), key.str(),
                   fmt::join(known, ", "));
    }
  }

  double weight() const {
    const toml::node* node = root_.get("weight");
    if (!node) return 1;
    const auto value = node->value<double>();
    if (!value || !(*value > 0)) fail_usage("{}: expected weight as a number above 0", where(node->source()));
    return *value;
  }

  std::vector<SegmentKind> kinds() const {
    const toml::node* node = root_.get("kinds");
    if (!node) return {kAllKinds.begin(), kAllKinds.end()};
    if (!node->is_array()) fail_usage("{}: expected kinds as a list", where(node->source()));
    std::vector<SegmentKind> kinds;
    for (const toml::node& entry : *node->as_array()) kinds.push_back(kind(entry));
    return kinds;
  }

  SegmentKind kind(const toml::node& node) const {
    const auto name = node.value<std::string_view>();
    for (const SegmentKind kind : kAllKinds) {
      if (name == kind_name(kind)) return kind;
    }
    fail_usage("{}: expected a kind of segment: message, country, language or prose", where(node.source()));
  }

  Wording wording(const toml::table& table) const {
    check_keys(table, {"prompt", "completion", "shot", "shots"});
    Wording wording;
    wording.prompt = text(table, "prompt");
    wording.completion = text(table.contains("completion") ? table : root_, "completion");
    wording.shot = text(table, "shot");
    if (wording.prompt.empty() || wording.completion.empty())
      fail_usage("{}: expected a prompt and a completion (here or at the top of the file), neither empty",
                 where(table.source()));
    read_shots(wording, table);
    check_shots(wording, table);
    return wording;
  }

  void read_shots(Wording& wording, const toml::table& table) const {
    const toml::node* node = table.get("shots");
    if (!node) return;
    const toml::array* range = node->as_array();
    const auto least = range && range->size() == 2 ? range->get(0)->value<int64_t>() : node->value<int64_t>();
    const auto most = range && range->size() == 2 ? range->get(1)->value<int64_t>() : node->value<int64_t>();
    if (!least || !most || *least < 1 || *most < *least || *most > 10)
      fail_usage("{}: expected shots as a number from 1 to 10, or two such: [least, most]",
                 where(node->source()));
    wording.least_shots = *least;
    wording.most_shots = *most;
  }

  void check_shots(const Wording& wording, const toml::table& table) const {
    const bool wanted = wording.prompt.uses(Variable::kShots);
    if (wanted != !wording.shot.empty() || wanted != (wording.most_shots > 0))
      fail_usage(
          "{}: {{{{ shots }}}} in the prompt, `shot` and `shots` go together: expected all three or none",
          where(table.source()));
    if (wording.shot.uses(Variable::kShots) || wording.completion.uses(Variable::kShots))
      fail_usage("{}: {{{{ shots }}}} may stand in a prompt only", where(table.source()));
  }

  TemplateText text(const toml::table& table, std::string_view key) const {
    const toml::node* node = table.get(key);
    if (!node) return {};
    const auto value = node->value<std::string>();
    if (!value) fail_usage("{}: expected {} as a string", where(node->source()), key);
    return {*value, {.file = path_, .line = first_line(node->source())}};
  }

  // TOML drops a newline right after the opening """ or ''', so the text begins on the next line.
  int64_t first_line(const toml::source_region& region) const {
    size_t at = 0;
    for (uint32_t line = 1; line < region.begin.line; ++line) at = source_.find('\n', at) + 1;
    at += region.begin.column - 1;
    const std::string_view opening = std::string_view(source_).substr(at, 5);
    const bool multiline = opening.starts_with("\"\"\"") || opening.starts_with("'''");
    const bool dropped = multiline && (opening.substr(3).starts_with("\n") || opening.substr(3) == "\r\n");
    return region.begin.line + dropped;
  }

  std::filesystem::path path_;
  std::string source_;
  toml::table root_;
};

bool has_values(const TemplateText& text, const Segment& segment) {
  return (!text.uses(Variable::kEnglish) || !segment.english.empty()) &&
         (!text.uses(Variable::kNote) || !segment.note.empty());
}

}  // namespace

bool Task::fits(const Segment& segment) const {
  if (std::find(kinds.begin(), kinds.end(), segment.kind) == kinds.end()) return false;
  return std::all_of(wordings.begin(), wordings.end(), [&](const Wording& wording) {
    return has_values(wording.prompt, segment) && has_values(wording.completion, segment) &&
           has_values(wording.shot, segment);
  });
}

std::vector<Task> read_tasks(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder))
    fail_usage("data.templates: no folder {}; it holds one .toml file per task", folder.string());
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  if (files.empty())
    fail_usage("data.templates: expected a .toml file per task in {}, found none", folder.string());
  std::sort(files.begin(), files.end());
  std::vector<Task> tasks;
  for (const auto& file : files) tasks.push_back(TaskFile(file).task());
  return tasks;
}

}  // namespace fern
