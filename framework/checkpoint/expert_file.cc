#include "framework/checkpoint/expert_file.h"

#include <string>

#include "framework/checkpoint/dataset_file.h"
#include "framework/checkpoint/layout.h"

namespace fern {

namespace {

constexpr const char *kShare = "share", *kBias = "bias", *kCorrection = "correction", *kCounts = "counts",
                     *kStreaks = "streaks";

template <typename T>
void write_some(DatasetWriter& file, const std::string& name, const std::vector<T>& values) {
  if (!values.empty()) file.write<T>(name, values);
}

template <typename T>
std::vector<T> read_some(const DatasetReader& file, const std::string& name) {
  return file.has(name) ? file.read_all<T>(name) : std::vector<T>();
}

}  // namespace

FileRecord write_experts(const std::filesystem::path& path, const ExpertMemory& memory) {
  DatasetWriter file(path);
  write_some(file, kShare, memory.share);
  write_some(file, kBias, memory.bias);
  write_some(file, kCorrection, memory.correction);
  write_some(file, kCounts, memory.counts);
  write_some(file, kStreaks, memory.streaks);
  return file.finish();
}

ExpertMemory read_experts(const std::filesystem::path& checkpoint, const Manifest& manifest) {
  if (!manifest.files.contains(kExpertsFile)) return {};
  const DatasetReader file(checkpoint, manifest, kExpertsFile);
  return {.share = read_some<double>(file, kShare),
          .bias = read_some<double>(file, kBias),
          .correction = read_some<double>(file, kCorrection),
          .counts = read_some<double>(file, kCounts),
          .streaks = read_some<int64_t>(file, kStreaks)};
}

}  // namespace fern
