#include "launch/inspect/inspect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "launch/commands.h"

namespace fern {

namespace fs = std::filesystem;

namespace {

nlohmann::ordered_json describe(const fs::path& path) {
  if (!fs::exists(path)) fail_usage("{}: no such file or folder", path.string());
  std::vector<std::string> kinds;
  for (const Inspector& inspector : inspectors()) {
    if (inspector.recognises(path)) return inspector.describe(path);
    kinds.emplace_back(inspector.what);
  }
  fail_usage("{}: not something Fern writes; expected {}", path.string(), fmt::join(kinds, ", "));
}

void print_plainly(const nlohmann::ordered_json& described, int indent) {
  for (const auto& [key, value] : described.items()) {
    if (value.is_object()) {
      fmt::print("{:{}}{}\n", "", indent, key);
      print_plainly(value, indent + 2);
    } else {
      fmt::print("{:{}}{:<{}} {}\n", "", indent, key, 18 - indent,
                 value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
}

}  // namespace

void declare_inspect(CLI::App& program, Run& run) {
  CLI::App* command =
      program.add_subcommand("inspect",
                             "Prints and verifies a shard, prepared data, a checkpoint (the newest of a "
                             "run, or of what import, prune or densify wrote), an export, or a "
                             "collection");
  auto path = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("path", *path, "what to look at")->required()->option_text("FILE|DIR");
  command->add_flag("--json", *as_json, "print JSON");
  command->callback([&run, path, as_json] {
    run = [path, as_json](Communicator& communicator) {
      if (communicator.rank() != 0) return ExitCode::kDone;
      const nlohmann::ordered_json described = describe(*path);
      if (*as_json)
        fmt::print("{}\n", described.dump(2));
      else
        print_plainly(described, 0);
      return ExitCode::kDone;
    };
  });
}

}  // namespace fern
