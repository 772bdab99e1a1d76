#include "launch/logging.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace fern {

void set_up_logging(int rank, int ranks) {
  auto logger = spdlog::stderr_color_mt("fern");
  logger->set_pattern(ranks > 1 ? fmt::format("%T %^%l%$ rank {}: %v", rank) : "%T %^%l%$ %v");
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace fern
