#include <cuda_runtime.h>

#include "framework/core/device.h"

#include <stdexcept>
#include <string>

namespace fern {

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

void* cuda_allocate(size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status != cudaSuccess)
    throw std::runtime_error("cannot allocate " + std::to_string(bytes) +
                             " bytes on the GPU: " + cudaGetErrorString(status));
  return data;
}

void cuda_free(void* data) noexcept { cudaFree(data); }

}  // namespace fern
