#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/train/metrics_log.h"
#include "framework/train/progress.h"
#include "framework/train/tensorboard.h"
#include "tests/framework/data/fixture.h"
#include "tests/support/file_size_limit.h"

namespace fern {
namespace {

namespace fs = std::filesystem;
using testing_data::bytes_of;
using testing_data::fresh_folder;
using testing_data::write_bytes;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

StepMetrics metrics_of(int64_t step) {
  return {.step = step,
          .loss = 2.5,
          .grad_norm = 0.75,
          .learning_rate = 1e-3,
          .tokens = 800,
          .loss_tokens = 300,
          .step_s = 2,
          .language_loss = {3.5, kNan}};
}

std::vector<nlohmann::json> lines_of(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(bytes_of(path));
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(MetricsLog, WritesOneObjectAStep) {
  const fs::path path = fresh_folder("metrics") / "metrics.jsonl";
  MetricsLog log(path, {"am", "yo"}, 0);
  log.write(metrics_of(1));
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["step"], 1);
  EXPECT_EQ(lines[0]["loss"], 2.5);
  EXPECT_EQ(lines[0]["tokens"], 800);
  EXPECT_EQ(lines[0]["loss_tokens"], 300);
  EXPECT_EQ(lines[0]["tokens_per_s"], 400.0);
  EXPECT_EQ(lines[0]["grad_norm"], 0.75);
  EXPECT_EQ(lines[0]["lr"], 1e-3);
  EXPECT_EQ(lines[0]["skipped"], false);
  EXPECT_EQ(lines[0]["language_loss"], nlohmann::json({{"am", 3.5}}));
}

TEST(MetricsLog, WritesNullForALossThatIsNotFinite) {
  const fs::path path = fresh_folder("metrics-nan") / "metrics.jsonl";
  StepMetrics metrics = metrics_of(1);
  metrics.loss = kNan;
  MetricsLog(path, {"am", "yo"}, 0).write(metrics);
  EXPECT_TRUE(lines_of(path)[0]["loss"].is_null());
}

TEST(MetricsLog, TellsHowLanguagesUseExperts) {
  const fs::path path = fresh_folder("metrics-experts") / "metrics.jsonl";
  StepMetrics metrics = metrics_of(1);
  metrics.routers = {0.5, 0.25};
  LayerUse layer{.layer = 3,
                 .all = use_of({12, 4}, 8, 2, 4),
                 .languages = {use_of({12, 4}, 8, 2, 4), use_of({0, 0}, 0, 0, 0)}};
  layer.languages[0].collapsed = true;
  metrics.experts = {.steps = 5, .layers = {layer}};
  MetricsLog(path, {"am", "yo"}, 0).write(metrics);
  const auto json = lines_of(path)[0];
  EXPECT_EQ(json["loss"], 2.5);
  EXPECT_EQ(json["balance_loss"], 0.5);
  EXPECT_EQ(json["z_loss"], 0.25);
  EXPECT_EQ(json["experts"]["steps"], 5);
  const auto& told = json["experts"]["layers"]["3"];
  EXPECT_EQ(told["collapsed"], nlohmann::json({"am"}));
  EXPECT_FALSE(told["languages"].contains("yo")) << "no token in the batch";
  EXPECT_EQ(told["languages"]["am"]["chosen"].dump(), "[12,4]");
  EXPECT_EQ(told["languages"]["am"]["dropped"], 0.125);
  EXPECT_EQ(told["max_over_mean"], 1.5);
  EXPECT_EQ(told["entropy"], 0.5);
}

TEST(MetricsLog, CutsStepsAfterTheResumedOne) {
  const fs::path path = fresh_folder("metrics-cut") / "metrics.jsonl";
  {
    MetricsLog log(path, {"am", "yo"}, 0);
    for (const int64_t step : {1, 2, 3, 4}) log.write(metrics_of(step));
  }
  MetricsLog(path, {"am", "yo"}, 2).write(metrics_of(3));
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[2]["step"], 3);
}

TEST(MetricsLog, CutsALineThatACrashCutShort) {
  const fs::path path = fresh_folder("metrics-crash") / "metrics.jsonl";
  write_bytes(path, "{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo");
  MetricsLog(path, {"am", "yo"}, 2).write(metrics_of(2));
  ASSERT_EQ(lines_of(path).size(), 2u);
}

TEST(MetricsLog, AFullDiskIsNamed) {
  const fs::path path = fresh_folder("metrics-full") / "metrics.jsonl";
  MetricsLog log(path, {"am", "yo"}, 0);
  for (const rlim_t room : {0, 100}) {
    const FileSizeLimit full(room);
    EXPECT_NE(testing_data::error_of([&] { log.write(metrics_of(1)); }).find("metrics.jsonl"),
              std::string::npos);
  }
}

TEST(TensorBoard, Crc32cOfThePublishedExamples) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
}

TEST(TensorBoard, RecordsAreFramedAndCarryTheScalars) {
  const fs::path folder = fresh_folder("events");
  EventFile events(folder, {"am", "yo"}, 4);
  events.write(metrics_of(5));
  EXPECT_TRUE(events.path().filename().string().starts_with("events.out.tfevents."));
  const std::string bytes = bytes_of(events.path());
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length = 0;
    uint32_t crc = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    ASSERT_LE(at + 16 + length, bytes.size());
    records.push_back(bytes.substr(at + 12, length));
    std::memcpy(&crc, bytes.data() + at + 12 + length, 4);
    const uint32_t plain = crc32c(records.back());
    EXPECT_EQ(crc, ((plain >> 15) | (plain << 17)) + 0xa282ead8u);
    at += 16 + length;
  }
  ASSERT_EQ(records.size(), 3u);
  EXPECT_NE(records[0].find("brain.Event:2"), std::string::npos);
  const std::string loss_of_am = std::string("\x0a\x07loss/am\x15", 10) + std::string("\0\0\x60\x40", 4);
  EXPECT_NE(records[2].find(loss_of_am), std::string::npos);
  EXPECT_EQ(records[2].find("loss/yo"), std::string::npos);
}

std::string shown(bool terminal, int64_t steps, double step_s) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress(file, terminal, steps);
    for (int64_t step = 1; step <= steps; ++step) {
      StepMetrics metrics = metrics_of(step);
      metrics.step_s = step_s;
      progress.show(metrics);
    }
  }
  std::rewind(file);
  std::string text(1 << 16, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

TEST(Progress, WritesPlainLinesNowAndThenToAFile) {
  const std::string text = shown(false, 100, 1.0);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_NE(text.find("step 1/100   1 %  loss 2.5000  800 tokens/s  2 min left"), std::string::npos) << text;
  EXPECT_NE(text.find("step 100/100 100 %"), std::string::npos) << text;
}

TEST(Progress, RedrawsOneBarOnATerminal) {
  const std::string text = shown(true, 4, 1.0);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 4);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_NE(text.find("[============            ]"), std::string::npos) << text;
}

TEST(Progress, DurationsReadWell) {
  EXPECT_EQ(duration_text(3.2), "3 s");
  EXPECT_EQ(duration_text(720), "12 min");
  EXPECT_EQ(duration_text(4 * 3600 + 300), "4 h 05 min");
  EXPECT_EQ(duration_text(2 * 86400 + 3 * 3600), "2 d 03 h");
}

}  // namespace
}  // namespace fern
