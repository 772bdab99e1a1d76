#include "data_tools/collect.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>

#include "launch/commands.h"

namespace fern {
namespace {

constexpr const char* kHelp =
    R"(Collects real text into a folder of JSONL, one file a language, with where each segment came from.
A SOURCE is one of
  gettext              the machine's own message catalogues, under /usr/share/locale
  gettext:DIR          catalogues (*.mo) under DIR, such as an unpacked iso-codes package
  mediawiki:DIR        MediaWiki's messages: every folder under DIR with en.json and qqq.json
  jsonl:FILE-or-DIR    {"text": ..., "language": ..., "english": ...} a line; english, note, key, kind are optional
  text:FILE:LANGUAGE   plain text, one segment a line, or a paragraph where blank lines divide it
  text:DIR             such files, named after their language: sw.txt
  PATH                 any of these, recognised by what it holds
A Debian package unpacked with `dpkg-deb -R PACKAGE.deb DIR` is recorded with its name, version and licence.
A second run with the same sources, files and options does nothing.)";

// Rewrites one line on a terminal; in a file, a line every few seconds.
class ProgressLine {
 public:
  void show(const CollectProgress& progress) {
    const bool last = progress.languages_done == progress.languages;
    const auto now = std::chrono::steady_clock::now();
    if (!last &&
        now - shown_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000)))
      return;
    shown_ = now;
    fmt::print(stderr, "{}collect: {} of {} languages, {} segments{}", terminal_ ? "\r" : "",
               progress.languages_done, progress.languages, progress.segments,
               terminal_ && !last ? "" : "\n");
    std::fflush(stderr);
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) != 0;
  std::chrono::steady_clock::time_point shown_ = {};
};

ExitCode run_collect(const CollectOptions& options) {
  ProgressLine line;
  const CollectOutcome outcome =
      collect(options, [&](const CollectProgress& progress) { line.show(progress); });
  if (outcome == CollectOutcome::kUpToDate) fmt::print("{} is up to date:\n", options.out.string());
  fmt::print("{}", describe_collection(options.out));
  return ExitCode::kDone;
}

}  // namespace

void declare_collect(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("collect", kHelp);
  auto options = std::make_shared<CollectOptions>();
  command->add_option("sources", options->sources, "where text is")->required()->option_text("SOURCE...");
  command->add_option("--out", options->out, "folder of the collection")->required()->option_text("DIR");
  command
      ->add_option("--languages", options->languages, "only these languages, comma-separated (default: all)")
      ->delimiter(',')
      ->option_text("CODE,...");
  command
      ->add_option("--max-per-language", options->max_per_language, "segments kept of each language; 0: all")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->option_text("N");
  command->add_option("--threads", options->threads, "threads; 0: one a core")
      ->check(CLI::Range(0, 4096))
      ->option_text("N");
  command->add_option("--licence", options->licence, "licence of jsonl and text sources, for the record")
      ->option_text("SPDX");
  command->callback([&run, options] {
    run = [options](Communicator& communicator) {
      return communicator.rank() == 0 ? run_collect(*options) : ExitCode::kDone;
    };
  });
}

}  // namespace fern
