// The `fern` program on one rank: finds the command, runs it, and turns what happens into an exit code.
#pragma once

#include "parallel/communicator.h"

namespace fern {

// An error is said on standard error; on several ranks it ends them all, and this does not return.
int run_fern(int argc, char** argv, Communicator& communicator);

}  // namespace fern
