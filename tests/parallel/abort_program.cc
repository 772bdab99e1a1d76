// For abort_test.sh: rank 1 fails while the others wait for it. Usage: abort_program abort|throw.
#include <cstdio>
#include <cstring>

#include "framework/core/error.h"
#include "parallel/communicator.h"

namespace {

void work(fern::Communicator& communicator) {
  if (communicator.rank() == 1) fern::fail("rank 1 fails as asked");
  communicator.barrier();
}

}  // namespace

int main(int argc, char** argv) {
  const bool unwinds = argc > 1 && std::strcmp(argv[1], "throw") == 0;
  try {
    const auto communicator = fern::make_communicator(&argc, &argv);
    try {
      work(*communicator);
    } catch (const fern::Error& error) {
      if (unwinds) throw;
      std::fprintf(stderr, "%s\n", error.what());
      communicator->abort(static_cast<int>(fern::ExitCode::kPeerFailed));
    }
  } catch (const fern::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
