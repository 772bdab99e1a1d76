// The CUDA back end of a build without nvcc.
#include "framework/core/device.h"
#include "framework/core/error.h"

namespace fern {

int cuda_device_count() { return 0; }
void* cuda_allocate(size_t bytes) {
  fail("cannot allocate {} bytes on a GPU: this build has no CUDA back end; build where nvcc is installed",
       bytes);
}
void cuda_free(void*) noexcept {}

}  // namespace fern
