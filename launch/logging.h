// The log: lines on standard error, so that standard output holds results alone.
#pragma once

namespace fern {

// Sets spdlog's default logger up. With more than one rank each line names its rank, and ranks other than 0
// keep quiet unless something is wrong.
void set_up_logging(int rank, int ranks);

}  // namespace fern
