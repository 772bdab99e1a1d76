#include "tests/launch/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include "framework/core/error.h"

extern char** environ;

namespace fern {

namespace {

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

std::filesystem::path output_file(const char* stream) {
  static int count = 0;
  return std::filesystem::path(testing::TempDir()) /
         fmt::format("program.{}.{}.{}", getpid(), count++, stream);
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments)
    : out_file_(output_file("out")), err_file_(output_file("err")) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, out_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int failed = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  expect(failed == 0, "{}: cannot be started", arguments[0]);
}

void Program::send(int signal_number) const { kill(pid_, signal_number); }

std::string Program::err() const { return text_of(err_file_); }

Outcome Program::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  Outcome outcome{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(out_file_),
                  text_of(err_file_)};
  std::filesystem::remove(out_file_);
  std::filesystem::remove(err_file_);
  return outcome;
}

std::vector<std::string> fern_command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), FERN_PROGRAM);
  return arguments;
}

Outcome run_fern(std::vector<std::string> arguments) {
  return Program(fern_command(std::move(arguments))).wait();
}

std::vector<std::string> fern_command_on(int ranks, const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
                                      "-n",     std::to_string(ranks)};
  for (const std::string& word : fern_command(arguments)) command.push_back(word);
  return command;
}

Outcome run_fern_on(int ranks, const std::vector<std::string>& arguments) {
  return Program(fern_command_on(ranks, arguments)).wait();
}

}  // namespace fern
