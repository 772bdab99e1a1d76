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

// Parts of flat padded buffers.
class WholeTensors final : public TensorSource {
 public:
  explicit WholeTensors(const CheckpointContents& contents) : contents_(contents) {}
  bool has_moments() const override { return !contents_.first_moment.empty(); }
  std::span<const float> get(TensorKind kind, int index) override {
    if (kind == TensorKind::kValues) return contents_.parameters.value(index).values<float>();
    const Parameter& parameter = contents_.parameters.list()[static_cast<size_t>(index)];
    return part_of(kind == TensorKind::kFirstMoment ? contents_.first_moment : contents_.second_moment,
                   parameter);
  }

 private:
  const CheckpointContents& contents_;
};

// Calls work(index, parameter) for each.
template <typename Work>
void for_each(const Parameters& parameters, const Work& work) {
  for (size_t i = 0; i < parameters.list().size(); ++i) work(static_cast<int>(i), parameters.list()[i]);
}

// Each returns the hash over all tensors that it writes (tensor_hash.h).
std::string write_weights(DatasetWriter& file, const Parameters& parameters, TensorSource& tensors) {
  Xxh128 hash;
  for_each(parameters, [&](int index, const Parameter& parameter) {
    const std::span<const float> values = tensors.get(TensorKind::kValues, index);
    file.write<float>(parameter.name, values, dims_of_values(parameter));
    feed_header(hash, parameter);
    hash.update(values.data(), values.size_bytes());
  });
  return hash.hex();
}

std::string write_moments(DatasetWriter& file, const Parameters& parameters, TensorSource& tensors) {
  Xxh128 hash;
  for_each(parameters, [&](int index, const Parameter& parameter) {
    feed_header(hash, parameter);
    for (const TensorKind kind : {TensorKind::kFirstMoment, TensorKind::kSecondMoment}) {
      const std::span<const float> values = tensors.get(kind, index);
      file.write<float>((kind == TensorKind::kFirstMoment ? kFirstMoment : kSecondMoment) + parameter.name,
                        values, dims_of_values(parameter));
      hash.update(values.data(), values.size_bytes());
    }
  });
  return hash.hex();
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
  WholeTensors whole(contents);
  TensorSource& tensors = contents.tensors != nullptr ? *contents.tensors : whole;
  Manifest manifest = contents.manifest;
  manifest.files.clear();
  DatasetWriter weights(folder / kWeightsFile);
  manifest.weights_hash = write_weights(weights, parameters, tensors);
  manifest.files[kWeightsFile] = weights.finish();
  manifest.optimizer_hash.clear();
  if (tensors.has_moments()) {
    DatasetWriter moments(folder / kOptimizerFile);
    manifest.optimizer_hash = write_moments(moments, parameters, tensors);
    manifest.files[kOptimizerFile] = moments.finish();
  }
  manifest.files[kLedgerFile] = write_plain(folder / kLedgerFile, contents.ledger.dump(2) + "\n");
  if (!contents.tokenizer_model.empty())
    manifest.files[kTokenizerFile] = write_plain(folder / kTokenizerFile, bytes_of(contents.tokenizer_model));
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
