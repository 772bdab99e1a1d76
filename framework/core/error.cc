#include "framework/core/error.h"

#include <cerrno>
#include <cstring>

namespace fern {

void fail_errno(const std::string& what) {
  const int code = errno;
  fail("{}: {}", what, std::strerror(code));
}

}  // namespace fern
