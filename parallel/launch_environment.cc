#include "parallel/launch_environment.h"

#include <cstdlib>

#include "framework/core/error.h"

namespace fern {

LaunchEnvironment read_launch_environment(const std::function<const char*(const char*)>& get) {
  const auto number = [&](const char* name) {
    const char* text = get(name);
    return text == nullptr ? 0 : std::atoi(text);
  };
  const int slurm_tasks = number("SLURM_STEP_NUM_TASKS");
  if (get("OMPI_COMM_WORLD_SIZE") != nullptr)
    return {.has_mpi = true, .ranks = number("OMPI_COMM_WORLD_SIZE")};
  if (get("PMI_RANK") != nullptr) return {.has_mpi = true, .ranks = number("PMI_SIZE")};
  if (get("PMIX_RANK") != nullptr) return {.has_mpi = true, .ranks = slurm_tasks};
  if (slurm_tasks > 1)
    fail_usage(
        "srun started {} tasks without a way for MPI to connect them; use srun --mpi=pmix (srun --mpi=list "
        "shows what this cluster has)",
        slurm_tasks);
  return {};
}

}  // namespace fern
