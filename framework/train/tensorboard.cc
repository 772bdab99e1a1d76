#include "framework/train/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cmath>

#include "framework/core/error.h"
#include "framework/train/metrics_log.h"

namespace fern {

namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  constexpr uint32_t kReversedPolynomial = 0x82f63b78;
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kReversedPolynomial : 0);
    table[i] = crc;
  }
  return table;
}

uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

template <typename T>
void append_fixed(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(value);
  out.append(bytes.data(), bytes.size());
}

// Protocol buffers' wire format: a key (field << 3 | type), then the value.
enum class Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void append_key(std::string& out, uint32_t field, Wire type) {
  append_varint(out, field << 3 | static_cast<uint32_t>(type));
}
void append_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  append_key(out, field, Wire::kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string event_at(int64_t step) {
  std::string event;
  append_key(event, 1, Wire::kFixed64);
  append_fixed(event, now_s());
  append_key(event, 2, Wire::kVarint);
  append_varint(event, static_cast<uint64_t>(step));
  return event;
}

void append_scalar(std::string& summary, const std::string& tag, double value) {
  if (!std::isfinite(value)) return;
  std::string entry;
  append_bytes(entry, 1, tag);
  append_key(entry, 2, Wire::kFixed32);
  append_fixed(entry, static_cast<float>(value));
  append_bytes(summary, 1, entry);
}

void append_use(std::string& summary, const LayerUse& layer, const std::vector<std::string>& languages) {
  const std::string prefix = fmt::format("experts/{}/", layer.layer);
  append_scalar(summary, prefix + "max_over_mean", layer.all.max_over_mean);
  append_scalar(summary, prefix + "entropy", layer.all.entropy);
  append_scalar(summary, prefix + "dropped", layer.all.dropped_share);
  append_scalar(summary, prefix + "effective", layer.all.effective);
  for (size_t l = 0; l < languages.size(); ++l)
    if (layer.languages[l].tokens > 0)
      append_scalar(summary, prefix + "effective/" + languages[l], layer.languages[l].effective);
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "host";
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = ~0u;
  for (const char byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder, std::vector<std::string> languages,
                     int64_t steps_done)
    : path_(folder / fmt::format("events.out.tfevents.{:010}.{}.{}", static_cast<int64_t>(now_s()),
                                 host_name(), ::getpid())),
      languages_(std::move(languages)) {
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail_errno(fmt::format("cannot create {}", path_.string()));
  std::string version = event_at(0);
  append_bytes(version, 3, "brain.Event:2");
  write_record(version);
  std::string status;
  append_key(status, 1, Wire::kVarint);
  append_varint(status, 1);
  std::string start = event_at(steps_done + 1);
  append_bytes(start, 7, status);
  write_record(start);
}

EventFile::~EventFile() { ::close(file_); }

void EventFile::write(const StepMetrics& metrics) {
  std::string summary;
  append_scalar(summary, "loss", metrics.loss);
  append_scalar(summary, "grad_norm", metrics.grad_norm);
  append_scalar(summary, "lr", metrics.learning_rate);
  append_scalar(summary, "tokens_per_s", tokens_per_s(metrics));
  for (size_t l = 0; l < languages_.size(); ++l)
    append_scalar(summary, "loss/" + languages_[l], metrics.language_loss[l]);
  if (metrics.sparsity) {
    append_scalar(summary, "sparsity/density", metrics.sparsity->density());
    append_scalar(summary, "sparsity/churn", metrics.sparsity->churn());
    append_scalar(summary, "sparsity/ever_active", metrics.sparsity->ever_active());
    append_scalar(summary, "sparsity/gradient_flow", metrics.sparsity->gradient_flow());
  }
  if (metrics.routers) {
    append_scalar(summary, "balance_loss", metrics.routers->balance);
    append_scalar(summary, "z_loss", metrics.routers->z);
  }
  if (metrics.experts)
    for (const LayerUse& layer : metrics.experts->layers) append_use(summary, layer, languages_);
  std::string event = event_at(metrics.step);
  append_bytes(event, 5, summary);
  write_record(event);
}

void EventFile::write_record(std::string_view event) {
  std::string record;
  append_fixed(record, static_cast<uint64_t>(event.size()));
  append_fixed(record, masked(crc32c(record)));
  record += event;
  append_fixed(record, masked(crc32c(event)));
  const ssize_t written = ::write(file_, record.data(), record.size());
  if (written < 0) fail_errno(fmt::format("cannot write {}", path_.string()));
  expect(written == static_cast<ssize_t>(record.size()), "cannot write {}: the disk is full", path_.string());
}

}  // namespace fern
