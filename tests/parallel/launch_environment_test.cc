#include "parallel/launch_environment.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "framework/core/error.h"

namespace fern {
namespace {

LaunchEnvironment read(const std::map<std::string, std::string>& variables) {
  return read_launch_environment([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(LaunchEnvironment, ProcessOfItsOwnHasNoMpi) { EXPECT_FALSE(read({{"HOME", "/root"}}).has_mpi); }

TEST(LaunchEnvironment, MpirunSaysHowMany) {
  const LaunchEnvironment launch = read({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "1"}});
  EXPECT_TRUE(launch.has_mpi);
  EXPECT_EQ(launch.ranks, 4);
}

TEST(LaunchEnvironment, HydraSaysHowMany) {
  const LaunchEnvironment launch = read({{"PMI_RANK", "0"}, {"PMI_SIZE", "3"}});
  EXPECT_TRUE(launch.has_mpi);
  EXPECT_EQ(launch.ranks, 3);
}

TEST(LaunchEnvironment, SrunWithPmixIsMpi) {
  const LaunchEnvironment launch = read({{"SLURM_STEP_NUM_TASKS", "2"}, {"PMIX_RANK", "0"}});
  EXPECT_TRUE(launch.has_mpi);
  EXPECT_EQ(launch.ranks, 2);
}

TEST(LaunchEnvironment, BatchScriptItselfHasNoMpi) {
  EXPECT_FALSE(read({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}}).has_mpi);
}

TEST(LaunchEnvironment, SrunWithoutMpiIsRefusedRatherThanRunSeveralTimes) {
  try {
    read({{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}});
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    EXPECT_NE(std::string(error.what()).find("--mpi=pmix"), std::string::npos);
  }
}

}  // namespace
}  // namespace fern
