// Loading and verifying: nothing that does not hash to its record is believed.
#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "framework/checkpoint/checkpoint.h"
#include "framework/checkpoint/layout.h"
#include "framework/checkpoint/tensor_hash.h"
#include "framework/core/error.h"
#include "framework/core/hash.h"
#include "framework/core/hdf5_file.h"

namespace fern {

namespace {

namespace fs = std::filesystem;

const FileRecord& record_in(const Manifest& manifest, const fs::path& checkpoint, const std::string& file) {
  const auto found = manifest.files.find(file);
  expect(found != manifest.files.end(), "{}: expected {} in it, but its manifest names none",
         checkpoint.string(), file);
  return found->second;
}

// "8 layers, 256 hidden, ...", for errors.
std::string describe(const nlohmann::json& model) {
  std::string text;
  for (const auto& [key, value] : model.items())
    if (value.is_number_integer())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", value.dump(), key);
  return text.empty() ? "it does not say which" : text;
}

// One file of datasets, read by name and hashed as it comes.
class TensorFile {
 public:
  TensorFile(const fs::path& checkpoint, const Manifest& manifest, const char* name)
      : path_(checkpoint / name), record_(record_in(manifest, checkpoint, name)), model_(manifest.model) {
    verify_rest(record_, path_);
    file_.emplace(Hdf5File::open(path_));
  }

  void read(std::span<float> out, const std::string& name, const Shape& shape) const {
    if (!has(name)) refuse(fmt::format("it has no {}", name));
    const Hdf5Dataset found = file_->dataset(name);
    if (found.dims != dims_of(shape))
      refuse(fmt::format("{} is [{}] there and {} in this one", name, fmt::join(found.dims, ", "),
                         shape.to_string()));
    file_->read<float>(name, out);
    const std::string hash = xxh128_hex(out.data(), out.size_bytes());
    if (hash != entry(name).hash) refuse_dataset(path_, entry(name), hash);
  }

  // Refuses datasets that are none of these.
  void expect_no_others(std::vector<std::string> names) const {
    std::sort(names.begin(), names.end());
    for (const DatasetRecord& dataset : record_.datasets)
      if (!std::binary_search(names.begin(), names.end(), dataset.name))
        refuse(fmt::format("this one has no {}", dataset.name));
  }

 private:
  std::vector<DatasetRecord>::const_iterator find(const std::string& name) const {
    return std::find_if(record_.datasets.begin(), record_.datasets.end(),
                        [&](const DatasetRecord& dataset) { return dataset.name == name; });
  }
  bool has(const std::string& name) const { return find(name) != record_.datasets.end(); }
  const DatasetRecord& entry(const std::string& name) const { return *find(name); }
  [[noreturn]] void refuse(const std::string& why) const {
    fail("{}: it holds another model ({}): {}", path_.string(), describe(model_), why);
  }

  fs::path path_;
  const FileRecord& record_;
  const nlohmann::json& model_;
  std::optional<Hdf5File> file_;
};

// The part of a moment that lies in the slice; `scratch` holds one parameter where the slice cuts it.
void load_moment(std::span<float> moment, std::vector<float>& scratch, const TensorFile& file,
                 const std::string& prefix, const Parameters& parameters, Slice slice) {
  std::fill(moment.begin(), moment.end(), 0.0f);
  for (const Parameter& parameter : parameters.list()) {
    const int64_t begin = std::max(slice.begin, parameter.offset);
    const int64_t end = std::min(slice.end, parameter.offset + parameter.elements());
    if (begin >= end) continue;
    const auto own =
        moment.subspan(static_cast<size_t>(begin - slice.begin), static_cast<size_t>(end - begin));
    const auto elements = static_cast<size_t>(parameter.elements());
    if (own.size() == elements) {
      file.read(own, prefix + parameter.name, parameter.shape);
      continue;
    }
    scratch.resize(elements);
    file.read(scratch, prefix + parameter.name, parameter.shape);
    std::copy_n(scratch.begin() + (begin - parameter.offset), own.size(), own.begin());
  }
}

void load_weights(Parameters& parameters, const fs::path& checkpoint, const Manifest& manifest) {
  const TensorFile file(checkpoint, manifest, kWeightsFile);
  std::vector<std::string> names;
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const Tensor value = parameters.value(static_cast<int>(i));
    names.push_back(parameters.list()[i].name);
    file.read(value.values<float>(), names.back(), value.shape());
  }
  parameters.note_change();
  file.expect_no_others(names);
  const std::string hash = weights_hash(parameters);
  expect(hash == manifest.weights_hash,
         "{}: expected weights hash {}, got {}: its parameters are in another order", checkpoint.string(),
         manifest.weights_hash, hash);
}

}  // namespace

std::string model_difference(const nlohmann::json& checkpoint_model, const nlohmann::json& own_model) {
  constexpr std::array kFields = {"vocabulary", "layers",         "hidden",     "heads",       "kv_heads",
                                  "ffn",        "tie_embeddings", "rope_theta", "norm_epsilon"};
  std::string text;
  for (const char* field : kFields) {
    const nlohmann::json theirs = checkpoint_model.value(field, nlohmann::json());
    const nlohmann::json ours = own_model.value(field, nlohmann::json());
    if (theirs != ours)
      text += fmt::format("{}{} {} (here {})", text.empty() ? "" : ", ", field, theirs.dump(), ours.dump());
  }
  return text;
}

void load_checkpoint(const fs::path& checkpoint, const Manifest& manifest, Parameters& parameters,
                     std::span<float> first_moment, std::span<float> second_moment, Slice slice) {
  load_weights(parameters, checkpoint, manifest);
  if (first_moment.empty() && second_moment.empty()) return;
  for (const auto moment : {first_moment, second_moment})
    expect(static_cast<int64_t>(moment.size()) == slice.elements(),
           "[checkpoint] expected moments of {} elements, got {}", slice.elements(), moment.size());
  expect(!manifest.optimizer_hash.empty(),
         "{}: it has weights but no optimizer state (an import?): training cannot be resumed from it",
         checkpoint.string());
  const TensorFile file(checkpoint, manifest, kOptimizerFile);
  std::vector<float> scratch;
  load_moment(first_moment, scratch, file, kFirstMoment, parameters, slice);
  load_moment(second_moment, scratch, file, kSecondMoment, parameters, slice);
}

void load_checkpoint(const fs::path& checkpoint, const Manifest& manifest, Parameters& parameters,
                     std::span<float> first_moment, std::span<float> second_moment) {
  load_checkpoint(checkpoint, manifest, parameters, first_moment, second_moment,
                  {0, parameters.padded_elements()});
}

nlohmann::json load_ledger(const fs::path& checkpoint, const Manifest& manifest) {
  const fs::path path = checkpoint / kLedgerFile;
  verify(record_in(manifest, checkpoint, kLedgerFile), path);
  std::ifstream file(path, std::ios::binary);
  nlohmann::json ledger = nlohmann::json::parse(file, nullptr, false);
  expect(!ledger.is_discarded(), "{}: expected JSON", path.string());
  return ledger;
}

nlohmann::json load_ledger(const fs::path& checkpoint) {
  return load_ledger(checkpoint, read_manifest(checkpoint));
}

void verify_checkpoint(const fs::path& checkpoint) {
  const Manifest manifest = read_manifest(checkpoint);
  record_in(manifest, checkpoint, kWeightsFile);
  for (const auto& [name, record] : manifest.files) verify(record, checkpoint / name);
}

}  // namespace fern
