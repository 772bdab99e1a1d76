// For tests that run on several ranks: the communicator that tests/support/mpi_main.cc opened.
#pragma once

#include "parallel/communicator.h"

namespace fern::testing_support {

Communicator& world();

}  // namespace fern::testing_support
