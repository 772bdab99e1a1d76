// Starts the `fern` program on every rank.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>

#include "framework/core/error.h"
#include "launch/fern_program.h"
#include "launch/logging.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file size limit then fails the write, which says so, instead of ending us
  try {
    const auto communicator = fern::make_communicator(&argc, &argv);
    fern::set_up_logging(communicator->rank(), communicator->size());
    return fern::run_fern(argc, argv, *communicator);
  } catch (const fern::Error& error) {
    fmt::print(stderr, "fern: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
