// Saving: everything into a temporary folder, every byte on disk, then one rename.
#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/dataset_file.h"
#include "framework/checkpoint/expert_file.h"
#include "framework/checkpoint/layout.h"
#include "framework/checkpoint/tensor_hash.h"
#include "framework/checkpoint/topology_file.h"
#include "framework/core/error.h"
#include "framework/core/files.h"

namespace fern {

namespace {

namespace fs = std::filesystem;

// A folder that goes with its contents unless it was published.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(fs::path path) : path_(std::move(path)) {
    remove_tree(path_);
    create_folders(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

  // One atomic exchange when `final_path` is there already: at no moment is there no checkpoint of that name.
  void publish(const fs::path& final_path) {
    sync_to_disk(path_);
    if (fs::exists(final_path)) {
      if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) != 0)
        fail_errno(fmt::format("cannot exchange {} with {}", path_.string(), final_path.string()));
      sync_to_disk(final_path.parent_path());
    } else {
      rename_durably(path_, final_path);
    }
  }

 private:
  fs::path path_;
};

// Each parameter's part of a flat padded buffer, by name.
void write_parts(DatasetWriter& file, const std::string& prefix, const Parameters& parameters,
                 std::span<const float> flat) {
  for (const Parameter& parameter : parameters.list())
    file.write<float>(prefix + parameter.name, part_of(flat, parameter), dims_of_values(parameter));
}

FileRecord write_plain(const fs::path& path, const std::string& bytes) {
  write_text_durably(path, bytes);
  return record_of(bytes);
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) fail_errno(fmt::format("cannot read {}", path.string()));
  return std::move(bytes).str();
}

void expect_whole(const CheckpointContents& contents) {
  const auto padded = static_cast<size_t>(contents.parameters.padded_elements());
  for (const auto moment : {contents.first_moment, contents.second_moment})
    expect(moment.size() == contents.first_moment.size() && (moment.empty() || moment.size() == padded),
           "[checkpoint] expected both moments with {} elements, or none, got {}", padded, moment.size());
}

// The oldest that can hold it, so that older programs read what they can.
int format_of(const CheckpointContents& contents) {
  if (!contents.experts.empty()) return kCheckpointFormat;
  return contents.parameters.sparse_runs().empty() ? kDenseFormat : kSparseFormat;
}

Manifest write_files(const fs::path& folder, const CheckpointContents& contents) {
  const Parameters& parameters = contents.parameters;
  Manifest manifest = contents.manifest;
  manifest.files.clear();
  DatasetWriter weights(folder / kWeightsFile);
  write_parts(weights, "", parameters, parameters.values().values<float>());
  manifest.files[kWeightsFile] = weights.finish();
  if (!contents.first_moment.empty()) {
    DatasetWriter moments(folder / kOptimizerFile);
    write_parts(moments, kFirstMoment, parameters, contents.first_moment);
    write_parts(moments, kSecondMoment, parameters, contents.second_moment);
    manifest.files[kOptimizerFile] = moments.finish();
  }
  manifest.files[kLedgerFile] = write_plain(folder / kLedgerFile, contents.ledger.dump(2) + "\n");
  if (!contents.tokenizer_model.empty())
    manifest.files[kTokenizerFile] = write_plain(folder / kTokenizerFile, bytes_of(contents.tokenizer_model));
  manifest.weights_hash = weights_hash(parameters);
  manifest.optimizer_hash = contents.first_moment.empty()
                                ? ""
                                : moments_hash(parameters, contents.first_moment, contents.second_moment);
  manifest.parameters = parameters.dense_elements();
  manifest.nonzeros = parameters.elements();
  manifest.format = format_of(contents);
  manifest.topology_hash = topology_hash(parameters);
  manifest.sparsity = declared_sparsity(parameters);
  if (!manifest.topology_hash.empty())
    manifest.files[kTopologyFile] = write_topology(folder / kTopologyFile, parameters, contents.topology);
  if (!contents.experts.empty())
    manifest.files[kExpertsFile] = write_experts(folder / kExpertsFile, contents.experts);
  return manifest;
}

}  // namespace

fs::path save_checkpoint(const fs::path& folder, const CheckpointContents& contents) {
  expect_whole(contents);
  const int64_t step = contents.manifest.step;
  TemporaryFolder temporary(folder / temporary_name(step));
  const Manifest manifest = write_files(temporary.path(), contents);
  write_text_durably(temporary.path() / kManifestFile, manifest_text(manifest));
  const fs::path checkpoint = folder / checkpoint_name(step);
  temporary.publish(checkpoint);
  return checkpoint;
}

}  // namespace fern
