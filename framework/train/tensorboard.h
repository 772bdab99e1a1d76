// TensorBoard event files, written without TensorFlow: records framed as TFRecord, each an Event message of
// TensorFlow's event.proto, encoded by hand.
//
//   record:  uint64 length | uint32 masked CRC-32C of the length | bytes | uint32 masked CRC-32C of the bytes
//            all little-endian; masked(c) = rotate_right(c, 15) + 0xa282ead8
//   Event:   1 wall_time double, 2 step int64, 3 file_version string, 5 summary Summary, 7 session_log
//   Summary: 1 repeated Value { 1 tag string, 2 simple_value float }
//   SessionLog: 1 status enum, START = 1: readers drop what older files say of this step and later
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "framework/train/trainer.h"

namespace fern {

// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

class EventFile {
 public:
  // Makes events.out.tfevents.<time>.<host>.<process> in an existing folder, and says that the run starts
  // after `steps_done`. `languages` as for MetricsLog. Errors: it cannot be created.
  EventFile(const std::filesystem::path& folder, std::vector<std::string> languages, int64_t steps_done);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // Scalars loss, grad_norm, lr, tokens_per_s, loss/LANGUAGE for each language of the batch, and of steps
  // that have them sparsity/density, churn, ever_active and gradient_flow, with experts balance_loss, z_loss
  // and experts/LAYER/max_over_mean, entropy, dropped, effective and effective/LANGUAGE; those that are not
  // finite are left out. Errors: disk full.
  void write(const StepMetrics& metrics);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(std::string_view event);

  std::filesystem::path path_;
  std::vector<std::string> languages_;
  int file_ = -1;
};

}  // namespace fern
