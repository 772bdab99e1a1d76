// A tiny corpus, prepared, and one whole run of it that other runs are held to.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tests/launch/program.h"

namespace fern {

bool has(const std::string& text, const std::string& part);
std::string text_of(const std::filesystem::path& path);

class Run : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();

  static std::string path(const std::string& name) { return (folder_ / name).string(); }
  // The words of `fern train` with the recipe, into the run folder of that name.
  static std::vector<std::string> train(const std::string& run, std::vector<std::string> more = {});
  // `--set` before each of these: "key=value".
  static std::vector<std::string> set(const std::vector<std::string>& settings);
  // Trains with these settings on as many ranks (1: without mpirun). Fails unless that goes well.
  static Outcome trained(int ranks, const std::string& run, const std::vector<std::string>& settings = {});
  // Fails unless training with these settings is refused as bad usage, saying `reason`.
  static void expect_refused(int ranks, const std::vector<std::string>& settings, const std::string& reason);
  // Fails unless `run` has the losses, checkpoints and ledger of `reference`.
  static void expect_equal(const std::string& reference, const std::string& run);
  static void expect_equals_whole(const std::string& run) { expect_equal("whole", run); }
  // Fails unless `run` has the reference's ledger and every loss of it, of a batch and of each language, to a
  // relative tolerance.
  static void expect_near(const std::string& run, const std::string& reference = "whole",
                          double tolerance = 1e-5);
  static std::vector<std::filesystem::path> checkpoints(const std::string& run);
  // Removes the checkpoints of later steps than this: the run goes on from there.
  static void go_back(const std::string& run, int64_t step);
  // What a run logs, by step.
  static std::vector<nlohmann::json> metrics(const std::string& run);
  // Of the updates of a run, in their order.
  static std::vector<std::string> topology_hashes(const std::string& run);
  static std::string weights_hash(const std::filesystem::path& checkpoint);
  // Fails when `run` has not done as many steps after a minute.
  static void wait_for_steps(const std::string& run, int64_t steps);

  static std::filesystem::path folder_;
};

}  // namespace fern
