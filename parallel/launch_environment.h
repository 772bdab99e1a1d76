// Who started this process: read from the environment, so that a process started alone never touches MPI.
#pragma once

#include <functional>

namespace fern {

struct LaunchEnvironment {
  bool has_mpi = false;  // a launcher waits for MPI_Init
  int ranks = 0;         // that the launcher says it started; 0 when it does not say
};

// `get` looks a variable up, as std::getenv does. Knows Open MPI's mpirun, Hydra (MPICH, Intel MPI), PMIx and
// Slurm. Errors (kBadUsage): srun started several tasks without an MPI start-up service.
LaunchEnvironment read_launch_environment(const std::function<const char*(const char*)>& get);

}  // namespace fern
